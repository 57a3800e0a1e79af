"""A folder of equalised copies of another image folder in the catalog."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset

from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError
from deepfake_detection.images.equalising import copy_equalised
from deepfake_detection.parameters import EqualiseParameters


class EqualisedImagesDataset(ReadOnlyDataset):
    """Equalised copies of an image folder (see `copy_equalised`); loads as their folder's path.

    They are made when they are first loaded.

    Args:
        filepath: The folder of these folders.
        images: The image folder, as the catalog describes it.
        settings: side, cut, quality: see `EqualiseParameters`; and max_pixels.
        metadata: For plugins; ignored.
    """

    def __init__(
        self,
        *,
        filepath: str,
        images: dict[str, Any] | None,
        settings: dict[str, Any] | None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath, metadata=metadata)
        self.images: AbstractDataset[NoReturn, Path] | None = None
        if images is not None:
            self.images = AbstractDataset.from_config("images", dict(images))
        self._settings = dict(settings or {})
        self._made: Path | None = None

    def load(self) -> Path:
        """The absolute path of the copies, which are made first where they or a file changed.

        Raises:
            UserError: If there is no image folder, or the disk is full.
        """
        if self.images is None:
            raise UserError("no images are equalised: data_preparation.equalise is null")
        # a run reads its images as they were at its start
        if self._made is None:
            settings = dict(self._settings)
            max_pixels = settings.pop("max_pixels")
            alike = EqualiseParameters.model_validate(settings)
            self._made = copy_equalised(self.images.load(), self._path, alike, max_pixels)
        return self._made

    def _describe(self) -> dict[str, Any]:
        return super()._describe() | self._settings
