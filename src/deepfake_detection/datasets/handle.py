"""Entries that give a node access to a place, where it finds or keeps things by itself."""

from pathlib import Path
from typing import Any, ClassVar, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.errors import UserError


class HandleDataset(AbstractDataset[NoReturn, Any]):
    """A place on disk; loading gives the handle to it, whether something is there or not.

    A node cannot save midway, and no entry can be both its input and its output. What it has to
    keep while it runs, or finds again of an earlier run, it reaches through such an input.

    Args:
        filepath: The file or folder.
        metadata: For plugins; ignored.
    """

    handle: ClassVar[type]

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._place = Path(filepath)
        self.metadata = metadata

    def load(self) -> Any:
        """The handle."""
        return self.handle(self._place)

    def save(self, data: NoReturn) -> NoReturn:  # noqa: ARG002
        """Used by nodes, not by the catalog."""
        raise UserError(f"{self._place} is an input, and cannot be an output")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._place)}
