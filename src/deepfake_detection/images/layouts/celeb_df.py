"""Celeb-DF, versions 1 and 2, and Celeb-DF++."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import is_video
from deepfake_detection.images.layouts.data_set import (
    SIDE_FOLDERS,
    DataSetLayout,
    PassedOver,
    Taken,
    below_media_folder,
    find_lists,
    read_text,
    video_name,
)
from deepfake_detection.parameters import ImageSetParameters

_LIST = "List_of_testing_videos.txt"
_FOLDERS = {"celeb-real": "Celeb-real", "youtube-real": "YouTube-real",
            "celeb-synthesis": "Celeb-synthesis"}  # fmt: skip
# Celeb-DF++ has a folder for each method in these
_SCENARIOS = frozenset({"faceswap", "facereenact", "talkingface"})
_V1 = {"Celeb-real": 158, "YouTube-real": 250, "Celeb-synthesis": 795}
_V2 = {"Celeb-real": 590, "YouTube-real": 300, "Celeb-synthesis": 5639}
_PLUS = {"Celeb-real": 590, "YouTube-real": 300, "Celeb-DF": 5639}
_TESTED = {"v1": 100, "v2": 518}
_IDENTITY = re.compile(r"id\d+")
# frames in one folder have a number behind the name of their video
_VIDEO = re.compile(r"(?:(?:id\d+_){1,2}\d{4}|\d{5})(?!\d)")
_LABELS = {"1": 0, "0": 1}  # in the list, 1 means real


class CelebDf(DataSetLayout):
    """Celeb-real, YouTube-real and Celeb-synthesis."""

    name = "celeb_df"
    title = "Celeb-DF"
    related_to = "an identity"

    def __init__(self, folder: Path, image_set: ImageSetParameters) -> None:
        super().__init__(folder, image_set)
        path = find_lists(self, [_LIST], [""]).get(_LIST)
        self.tested = {} if path is None else _read_list(path)
        self.published = _V2

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:  # noqa: ARG003
        """Whether there is one of Celeb-DF's own folders."""
        names = {path.name.lower() for path in folder.iterdir() if path.is_dir()}
        return bool(names & (_FOLDERS.keys()))

    def describe(self, path: PurePosixPath) -> Taken | PassedOver | str:
        """Read `Celeb-synthesis/id0_id1_0000.mp4`: the video id0_0000 with the face of id1."""
        folder = _FOLDERS.get(path.parts[0].lower())
        if folder is None or len(path.parts) < 2:
            return "outside of Celeb-real, YouTube-real and Celeb-synthesis"
        name, rest = folder, path.parts[1:]
        inside = [folder.lower()]
        if folder == "Celeb-synthesis" and rest[0].lower() in _SCENARIOS and len(rest) > 2:
            name, rest = rest[1], rest[2:]
            inside += [path.parts[1].lower(), path.parts[2].lower()]
        if rest[0].lower() in SIDE_FOLDERS:
            return PassedOver(f"files in folders '{rest[0]}'")
        rest = below_media_folder(rest)
        video = video_name(rest)
        if not video:
            return "not in the folder of a video"
        if known := _VIDEO.match(video):
            video = known.group()
        place = PurePosixPath(*path.parts[: len(path.parts) - len(rest)])
        related = tuple(_IDENTITY.findall(video))
        if folder == "YouTube-real":
            related = (f"YouTube-real/{video}",)
        elif not related:
            return "its name names no identity, as id0_0000 or id0_id1_0000 do"
        label = int(folder == "Celeb-synthesis")
        key = "/".join((*inside, video.lower()))
        subset = None
        if self.tested:
            subset = "test" if key in self.tested else "train"
            if self.tested.get(key, label) != label:
                return f"{_LIST} gives it the other label (there, 1 means real)"
        return Taken(name, label, video, related, place, subset)

    def compare(self, videos: Mapping[tuple[str, str], Taken]) -> None:
        """Compare with the published numbers of its version and with the list of test videos."""
        counts = Counter(name for name, _ in videos)
        version = "v2"
        if set(counts) - set(_V2):
            version, self.published = "++", _PLUS
        elif all(counts[name] <= number for name, number in _V1.items()) and (
            0 < len(self.tested) <= _TESTED["v1"]
        ):
            version, self.published = "v1", _V1
        self.notes.append(f"Counts are compared with Celeb-DF {version}")
        self.compare_counts(videos)
        if not self.tested:
            self.notes.append(
                f"{_LIST} is not here: without it there is no official split. "
                "layout_options.lists names its folder"
            )
            return
        found = sum(each.subset == "test" for each in videos.values())
        published = f" ({_TESTED[version]} are published)" if version in _TESTED else ""
        self.notes.append(
            f"{_LIST} names {len(self.tested)} test videos{published}, of which {found} are here; "
            "all others are train. It has no validation"
        )


def _read_list(path: Path) -> dict[str, int]:
    """Labels by path, without its suffix and in lower case."""
    labels = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        label, _, name = line.strip().partition(" ")
        name = name.strip().replace("\\", "/")
        if label not in _LABELS or not name:
            raise UserError(f"{path}, line {number}: it should be as '1 YouTube-real/00170.mp4'")
        key = name.rsplit(".", 1)[0] if is_video(name) else name
        labels[key.lower()] = _LABELS[label]
    return labels
