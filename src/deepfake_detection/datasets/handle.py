"""Entries that give a node access to a path, to which it reads and writes by itself."""

from pathlib import Path
from typing import Any, ClassVar

from deepfake_detection.datasets.read_only import ReadOnlyDataset


class HandleDataset(ReadOnlyDataset):
    """A path; loading gives an object that reads and writes there. The path need not exist.

    A node cannot save before it returns, and no entry can be both its input and its output. So what
    a node keeps while it runs, such as checkpoints, is accessed through an input of this kind.
    """

    handle: ClassVar[type]

    def load(self) -> Any:
        """Make the object."""
        return self.handle(self._path)

    def _exists(self) -> bool:
        return True


class FolderDataset(HandleDataset):
    """A folder, as its path, which a node fills."""

    handle = Path


class FileDataset(HandleDataset):
    """A file, as its path, which a node reads."""

    handle = Path

    def _exists(self) -> bool:
        return self._path.is_file()
