"""A folder of images in the catalog."""

from pathlib import Path

from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError

_ADVICE = (
    "Put the images there, a folder for each class (docs/data.md), or try the generated faces: "
    "kedro run --env demo"
)


class ImageFolderDataset(ReadOnlyDataset):
    """A folder of images; loading gives its path.

    Example in `catalog.yml`:

        training_images:
          type: deepfake_detection.datasets.image_folder.ImageFolderDataset
          filepath: data/01_raw/training_images
    """

    def load(self) -> Path:
        """Return the absolute path.

        Raises:
            UserError: If it is missing or empty.
        """
        if not self._path.is_dir():
            raise UserError(f"there is no image folder {self._path}. {_ADVICE}")
        if not any(self._path.iterdir()):
            raise UserError(f"the image folder {self._path} is empty. {_ADVICE}")
        return self._path.resolve()

    def _exists(self) -> bool:
        return self._path.is_dir()
