"""Images without labels in the catalog: a folder, one image, or a list."""

from pathlib import Path

from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError


class UnlabelledImagesDataset(ReadOnlyDataset):
    """Images to score; loading gives their path.

    `filepath` is a folder with images at any depth; an image; or a text file (.txt) with a path in
    each line.
    """

    def load(self) -> Path:
        """Return the absolute path.

        Raises:
            UserError: If it does not exist.
        """
        if not self._path.exists():
            raise UserError(
                f"there are no pictures in {self._path}. Put them there, or name a folder, a "
                "picture or a list in a text file: kedro run --pipelines inference --params "
                "images=path/to/folder"
            )
        return self._path.absolute()
