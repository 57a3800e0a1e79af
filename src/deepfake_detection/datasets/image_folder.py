"""A folder of images in the catalog."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.errors import UserError


class ImageFolderDataset(AbstractDataset[NoReturn, Path]):
    """A folder of images; loading gives its path.

    Example in `catalog.yml`:

        training_images:
          type: deepfake_detection.datasets.image_folder.ImageFolderDataset
          filepath: data/01_raw/training_images

    Args:
        filepath: The folder.
        metadata: For plugins; ignored.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._folder = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        """The folder, absolute.

        Raises:
            UserError: If it is missing or empty, with what it should look like.
        """
        if not self._folder.is_dir():
            raise UserError(
                f"there is no image folder {self._folder}. Put the images there, a folder for each "
                "class (docs/data.md), or try the generated faces: kedro run --env demo"
            )
        if not any(self._folder.iterdir()):
            raise UserError(
                f"the image folder {self._folder} is empty. Put a folder for each class there "
                "(docs/data.md), or try the generated faces: kedro run --env demo"
            )
        return self._folder.resolve()

    def save(self, data: NoReturn) -> NoReturn:  # noqa: ARG002
        """An image folder is never written."""
        raise UserError(f"the image folder {self._folder} is only read, never written")

    def _exists(self) -> bool:
        return self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._folder)}
