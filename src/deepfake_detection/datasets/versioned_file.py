"""Versioned files in the catalog."""

from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from kedro.io import AbstractVersionedDataset, Version

Saved = TypeVar("Saved")
Loaded = TypeVar("Loaded")


class VersionedFileDataset(AbstractVersionedDataset[Saved, Loaded]):
    """A file; with `versioned: true`, a folder of its versions.

    Args:
        filepath: Of the file or the folder.
        version: Filled in by Kedro.
        metadata: For plugins; ignored.
    """

    def __init__(
        self,
        *,
        filepath: str,
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=PurePosixPath(filepath), version=version)
        self.metadata = metadata

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}
