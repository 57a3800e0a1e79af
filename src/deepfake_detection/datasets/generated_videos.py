"""A Kedro dataset of generated videos: drawn faces in FaceForensics++'s layout."""

from pathlib import Path
from typing import Any

from deepfake_detection.datasets.filming import FILMING_VERSION, write_videos
from deepfake_detection.datasets.forging import FORGING_VERSION, MOST_SOURCES
from deepfake_detection.datasets.generated_folder import GeneratedFolderDataset
from deepfake_detection.errors import UserError


class GeneratedVideosDataset(GeneratedFolderDataset):
    """A folder of short videos made from drawn portraits; loads as its path.

    Args:
        filepath: The folder.
        sources: People, an even number up to 60; each is in one real and two fake videos.
        frames: Of each video, 1…500; 12 a second.
        size: Height in pixels, an even number, 96…720; the width is 4/3 of it.
        seed: Random seed of forgeries and movements.
        instead: A folder or file that is loaded in place of them.
        metadata: For plugins; ignored.
    """

    things = "videos"
    version = 1000 * FILMING_VERSION + FORGING_VERSION

    def __init__(
        self,
        *,
        filepath: str,
        sources: int,
        frames: int,
        size: int,
        seed: int,
        instead: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        settings = {"sources": sources, "frames": frames, "size": size, "seed": seed}
        super().__init__(filepath, settings, metadata)
        self._instead = instead

    def load(self) -> Path:
        """The absolute path of the folder, made if need be, or of what is given instead."""
        return Path(self._instead).absolute() if self._instead else super().load()

    def check_settings(self) -> None:
        """Raise a UserError if a setting is out of range."""
        ranges = {"sources": (2, MOST_SOURCES["main"]), "frames": (1, 500), "size": (96, 720)}
        for name, (lowest, highest) in ranges.items():
            value = self._settings[name]
            if not lowest <= value <= highest:
                raise UserError(
                    f"{name} of generated videos is {value} and must be {lowest} to {highest}"
                )
        for name in ("sources", "size"):
            if self._settings[name] % 2:
                raise UserError(f"{name} of generated videos must be an even number")

    def write(self, folder: Path) -> int:
        """Fill an empty folder; return the number of videos."""
        return write_videos(folder, **self._settings)
