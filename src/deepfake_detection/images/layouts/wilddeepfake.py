"""WildDeepfake."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from deepfake_detection.images.layouts.data_set import DataSetLayout, PassedOver, Taken
from deepfake_detection.parameters import ImageSetParameters

_FOLDER = re.compile(r"(real|fake)[ _-](train|test)", re.IGNORECASE)


class WildDeepfake(DataSetLayout):
    """`{real,fake}_{train,test}/N/{real,fake}/SEQUENCE/*.png`: crops, in sequences of one face.

    The number N is taken for the video that sequences were cut from. Real and fake sequences of one
    number and subset are one group.
    """

    name = "wilddeepfake"
    title = "WildDeepfake"
    related_to = "a number"
    published: Mapping[str, int] = {"real": 3805, "fake": 3509}

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:  # noqa: ARG003
        """Whether there is a folder such as real_train."""
        return any(_folders(folder))

    def describe(self, path: PurePosixPath) -> Taken | PassedOver | str:
        """Read `fake_train/1/fake/131/942.png`."""
        match = _FOLDER.fullmatch(path.parts[0])
        name, subset = (match.group(1).lower(), match.group(2).lower()) if match else ("", "")
        if len(path.parts) < 4 or path.parts[2].lower() != name:
            return "not as fake_train/1/fake/131/942.png"
        number = path.parts[1]
        sequence = [part for part in path.parts[2:-1] if part.lower() != name]
        video = "/".join((subset, number, *sequence))
        place = PurePosixPath(path.parts[0])
        return Taken(name, int(name == "fake"), video, (f"{subset}/{number}",), place, subset)

    def compare(self, videos: Mapping[tuple[str, str], Taken]) -> None:
        """Compare with the published numbers of sequences."""
        self.compare_counts(videos)
        packed = sum(
            not archive.with_name(archive.name.removesuffix(".tar.gz")).is_dir()
            for folder in _folders(self.folder)
            for archive in folder.glob("*.tar.gz")
        )
        if packed:
            self.notes.append(f"{packed} archives (.tar.gz) are not unpacked, and not read")


def _folders(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and _FOLDER.fullmatch(path.name):
            yield path
