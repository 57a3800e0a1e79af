"""Training states in the catalog."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.errors import UserError
from deepfake_detection.learning.state import TrainingStates


class TrainingStateDataset(AbstractDataset[NoReturn, TrainingStates]):
    """A folder of training states; loading gives access to it.

    A node cannot save midway, and no entry can be both its input and its output: the node that
    trains saves through what it loads here. A hook removes the state once the detector is saved.

    Args:
        filepath: The folder.
        metadata: For plugins; ignored.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._states = TrainingStates(Path(filepath))
        self.metadata = metadata

    def load(self) -> TrainingStates:
        """The folder, with or without states."""
        return self._states

    def save(self, data: NoReturn) -> NoReturn:  # noqa: ARG002
        """Written by the node that trains, not by the catalog."""
        raise UserError(f"{self._states.folder} is an input, and cannot be an output")

    def _exists(self) -> bool:
        return True

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._states.folder)}
