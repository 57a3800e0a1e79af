"""Paths in the catalog that are never written by it."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.errors import UserError


class ReadOnlyDataset(AbstractDataset[NoReturn, Any]):
    """A path; saving is an error.

    Args:
        filepath: The file or folder.
        metadata: For plugins; ignored.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._path = Path(filepath)
        self.metadata = metadata

    def save(self, data: NoReturn) -> NoReturn:  # noqa: ARG002
        """Raise a `UserError`: a node cannot have this entry as its output."""
        raise UserError(f"{self._path} is only read: it cannot be the output of a node")

    def _exists(self) -> bool:
        return self._path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
