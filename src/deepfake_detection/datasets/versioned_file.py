"""Versioned files in the catalog."""

from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from kedro.io import AbstractVersionedDataset, Version
from kedro.io.core import generate_timestamp

from deepfake_detection.atomic_write import remove_stale
from deepfake_detection.errors import UserError

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

    def fix_version(self, *, saved_here: bool) -> None:
        """Load one version for the rest of a run, whatever other runs save in the meantime.

        It is the version that this run saves if it saves one, otherwise the latest of now. A
        version that was asked for stays.

        Raises:
            UserError: If there are versions from the future, which would be taken for the latest.
        """
        if self._version is None:
            return
        load, save, now = self._version.load, self.resolve_save_version(), generate_timestamp()
        future = [version for version in self._versions() if version > now]
        if future and load is None:
            raise UserError(
                f"{self._filepath / future[0]} is from the future: later runs would load it "
                f"instead of what this one saves ({save}). Check the clock of this machine, then "
                "rename or delete that folder"
            )
        if load is None and (saved_here or self._versions()):
            load = save if saved_here else self.resolve_load_version()
        self._version = Version(load, save)

    @property
    def is_fixed(self) -> bool:
        """Whether it is known which version is loaded."""
        return self._version is not None and self._version.load is not None

    @property
    def path(self) -> Path:
        """Of the file that is loaded."""
        return Path(self._get_load_path())

    def remove_leftovers(self) -> None:
        """Remove the temporary files that a killed process left here."""
        remove_stale(Path(self._filepath), f"*/.{self._filepath.stem[:40]}-*")

    def _versions(self) -> list[str]:
        return [Path(path).parent.name for path in self._get_versions()]

    def _exists(self) -> bool:
        return Path(self._get_load_path()).is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath), "version": self._version}
