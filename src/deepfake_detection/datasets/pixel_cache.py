"""Pixel caches in the catalog."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest


class PixelCacheDataset(AbstractDataset[PixelRequest, PixelCache]):
    """A folder of pixel caches: saving a request builds its store, loading gives access to all.

    A node asks for pixels without touching them; `save` builds the store into a folder named after
    its content, unless it is there. So runs, pipelines and studies share what they have in common.

    Args:
        filepath: The folder.
        metadata: For plugins; ignored.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._stores = PixelCache(Path(filepath))
        self.metadata = metadata

    def load(self) -> PixelCache:
        """The stores; ask them for pixels with `open`."""
        return self._stores

    def save(self, data: PixelRequest) -> None:
        """Build the store that is asked for."""
        self._stores.build(data)

    def _exists(self) -> bool:
        return self._stores.folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._stores.folder)}
