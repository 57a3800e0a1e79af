"""Pictures and videos without labels in the catalog: a folder, one file, or a list."""

from pathlib import Path

from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError


class UnlabelledImagesDataset(ReadOnlyDataset):
    """Pictures and videos to score; loading gives their path.

    `filepath` is a folder with them at any depth; one of them; or a text file (.txt) with a path in
    each line, or a CSV file with a column `path`.
    """

    def load(self) -> Path:
        """Return the absolute path.

        Raises:
            UserError: If it does not exist.
        """
        if not self._path.exists():
            raise UserError(
                f"there are no pictures or videos in {self._path}. Put them there, or name a "
                "folder, a file or a list in a text file: kedro run --pipelines inference --params "
                "images=path/to/folder"
            )
        return self._path.absolute()
