"""Any file dataset of the catalog, written whole or not at all and checked when it is read."""

from functools import wraps
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError, Version

from deepfake_detection.atomic_write import atomic_write, check_whole
from deepfake_detection.datasets.versioned_file import VersionedFileDataset
from deepfake_detection.errors import UserError, first_line


class AtomicDataset(VersionedFileDataset[Any, Any]):
    """A file that another dataset reads and writes.

    It is written beside its place, put on the disk and then renamed, with a checksum beside it. So
    a version that can be loaded is complete, and is what was saved.

    Args:
        filepath: Of the file; with `versioned: true`, of the folder of its versions.
        dataset: The other dataset, as the catalog describes it, without `filepath`.
        version: Filled in by Kedro.
        metadata: For plugins; ignored.
    """

    def __init__(
        self,
        *,
        filepath: str,
        dataset: dict[str, Any],
        version: Version | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, version=version, metadata=metadata)
        self._config = dataset
        inner = self._dataset_of(Path(filepath), version)
        if hasattr(inner, "preview"):
            # for Kedro-Viz, which has nothing to show of what was not made yet
            preview = inner.preview

            @wraps(preview)
            def preview_if_made(*args: Any, **kwargs: Any) -> Any:
                return preview(*args, **kwargs) if self.exists() else None

            self.preview = preview_if_made

    def load(self) -> Any:
        """Load as the other dataset does; a UserError if the file was cut or changed."""
        path = Path(self._get_load_path())
        check_whole(path)
        try:
            return self._dataset_of(path).load()
        # a file without a checksum: readers raise errors of many kinds, which Kedro wraps
        except DatasetError as error:
            reason = first_line(error.__cause__ or error)
            raise UserError(
                f"{path} cannot be read ({reason}): it is damaged, or no such file. Make it again"
            ) from error

    def save(self, data: Any) -> None:
        """Save as the other dataset does; a UserError if the disk is full or read-only."""
        with atomic_write(Path(self._get_save_path()), checked=True) as temporary:
            self._dataset_of(temporary).save(data)

    def replace(self, data: Any) -> None:
        """Save over the version that this run saved before."""
        with atomic_write(self.path, checked=True) as temporary:
            self._dataset_of(temporary).save(data)

    def _dataset_of(self, path: Path, version: Version | None = None) -> AbstractDataset[Any, Any]:
        config = self._config | {"filepath": str(path), "versioned": version is not None}
        load, save = version or (None, None)
        return AbstractDataset.from_config(path.name, config, load, save)

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | {"dataset": self._config["type"]}
