"""A Kedro dataset of generated faces: an image folder made from drawings."""

from pathlib import Path
from typing import Any

from deepfake_detection.datasets.forging import (
    FORGING_VERSION,
    LARGEST_SIZE,
    MOST_IMAGES,
    MOST_SOURCES,
    People,
    write_faces,
)
from deepfake_detection.datasets.generated_folder import GeneratedFolderDataset
from deepfake_detection.errors import UserError


class GeneratedFacesDataset(GeneratedFolderDataset):
    """A folder of faces in the reference's layout, made from drawn portraits; loads as its path.

    Args:
        filepath: The folder.
        sources: People, 1…60 (1…20 of ``elsewhere``); each is a source of all three classes.
        images_per_source: Consecutive images of each person in each class, 1…5.
        size: Width and height, 1…299 pixels.
        quality: Of the JPEG files, 1…95; each person's camera lowers it by up to 20 points.
        seed: Random seed of the forgeries, the cameras and how images are cut; people don't change.
        people: ``main``, or ``elsewhere``: other people, for a set that no detector trained on.
        metadata: For plugins; ignored.
    """

    things = "faces"
    version = FORGING_VERSION

    def __init__(
        self,
        *,
        filepath: str,
        sources: int,
        images_per_source: int,
        size: int,
        quality: int,
        seed: int,
        people: People = "main",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        settings = {
            "people": people, "sources": sources, "images_per_source": images_per_source,
            "size": size, "quality": quality, "seed": seed,
        }  # fmt: skip
        super().__init__(filepath, settings, metadata)

    def check_settings(self) -> None:
        """Raise a UserError if a setting is out of range."""
        people = self._settings["people"]
        if people not in MOST_SOURCES:
            known = " or ".join(MOST_SOURCES)
            raise UserError(f"people of generated faces is {people!r} and must be {known}")
        most = {
            "sources": MOST_SOURCES[people], "images_per_source": MOST_IMAGES,
            "size": LARGEST_SIZE, "quality": 95,
        }  # fmt: skip
        for name, highest in most.items():
            if not 1 <= self._settings[name] <= highest:
                raise UserError(
                    f"{name} of generated faces is {self._settings[name]} and must be 1 to "
                    f"{highest}, which is what the portraits of people: {people} can give"
                )

    def write(self, folder: Path) -> int:
        """Fill an empty folder; return the number of images."""
        return write_faces(folder, **self._settings)
