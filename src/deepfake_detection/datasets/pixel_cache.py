"""Pixel caches in the catalog."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest


class PixelCacheDataset(AbstractDataset[PixelRequest, PixelCache]):
    """A folder of pixel caches: saving a request builds a cache, loading gives access to all.

    A node returns a request without reading pixels. `save` builds the cache into a folder named
    after its content, unless it exists; so runs, pipelines and studies share caches.

    Args:
        filepath: The folder.
        metadata: For plugins; ignored.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._caches = PixelCache(Path(filepath))
        self.metadata = metadata

    def load(self) -> PixelCache:
        """The caches; `open` gives the pixels of a set of images."""
        return self._caches

    def save(self, data: PixelRequest) -> None:
        """Build the requested cache."""
        self._caches.build(data)

    def _exists(self) -> bool:
        return self._caches.folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._caches.folder)}
