"""DeeperForensics-1.0."""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from deepfake_detection.images.layouts.data_set import (
    SIDE_FOLDERS,
    DataSetLayout,
    PassedOver,
    Taken,
    below_media_folder,
    find_lists,
    read_text,
)
from deepfake_detection.parameters import ImageSetParameters

_LISTS = {"train.txt": "train", "val.txt": "validation", "test.txt": "test"}
_VARIANTS = (
    "end_to_end", "reenact_postprocess", *(f"end_to_end_level_{level}" for level in range(1, 6)),
    "end_to_end_random_level", *(f"end_to_end_mix_{n}_distortions" for n in range(2, 5)),
)  # fmt: skip
_FAKE = re.compile(r"(\d{3})_([MW]\d{3})(?!\d)")  # target, actor
_TARGET = re.compile(r"(\d{3})(?!\d)")
_SOURCE = re.compile(r"([MW]\d{3})_[A-Za-z_]+[A-Za-z]")


class DeeperForensics(DataSetLayout):
    """Videos of actors, and their faces in FaceForensics++'s originals.

    The originals are no part of the data set. They are read from `target_videos`, if it is there.
    """

    name = "deeperforensics"
    title = "DeeperForensics-1.0"
    related_to = "an actor or a target"
    published: Mapping[str, int] = {"source_videos": 48_475, **dict.fromkeys(_VARIANTS, 1000)}

    def __init__(self, folder: Path, image_set: ImageSetParameters) -> None:
        super().__init__(folder, image_set)
        self.listed: dict[str, str] = {}
        for name, path in find_lists(self, _LISTS, ["lists/splits", ""]).items():
            for match in _FAKE.finditer(read_text(path)):
                self.listed[match.group()] = _LISTS[name]
        # subsets by target and by actor; one that stands in two has none
        found = defaultdict(set)
        for name, subset in self.listed.items():
            for part in name.split("_"):
                found[part].add(subset)
        self.subsets = {part: each.pop() for part, each in found.items() if len(each) == 1}

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:  # noqa: ARG003
        """Whether there is a folder of manipulated videos."""
        return (folder / "manipulated_videos").is_dir()

    def describe(self, path: PurePosixPath) -> Taken | PassedOver | str:
        """Read `manipulated_videos/VARIANT/010_W006.mp4`: the actor W006 in the video 010."""
        top, rest = path.parts[0].lower(), path.parts[1:]
        if len(rest) > 1 and top == "manipulated_videos":
            name, rest = rest[0], rest[1:]
        elif rest and top in ("source_videos", "target_videos"):
            name = top
        else:
            return "outside of source_videos, manipulated_videos and target_videos"
        if rest[0].lower() in SIDE_FOLDERS:
            return PassedOver(f"files in folders '{rest[0]}'")
        rest = below_media_folder(rest)
        place = PurePosixPath(*path.parts[: len(path.parts) - len(rest)])
        if name == "source_videos":
            return self._read_source(rest, place)
        match = (_TARGET if name == "target_videos" else _FAKE).match(rest[0])
        if match is None:
            return "its name is not that of a video, such as 010_W006 (or 010, of a target)"
        video = match.group()
        if name == "target_videos":
            return Taken(name, 0, video, (f"target/{video}",), place, self.subsets.get(video))
        related = (f"target/{match[1]}", f"actor/{match[2]}")
        return Taken(name, 1, video, related, place, self.listed.get(video))

    def _read_source(self, parts: tuple[str, ...], place: PurePosixPath) -> Taken | str:
        """Read `ACTOR/LIGHT/EMOTION/CAMERA/ACTOR_LIGHT_EMOTION_CAMERA.mp4`."""
        match = next(filter(None, map(_SOURCE.match, parts)), None)
        if match is None:
            return "its name is not that of a source video, such as W136_light_up_sad_camera_up"
        related = (f"actor/{match[1]}",)
        return Taken("source_videos", 0, match[0], related, place, self.subsets.get(match[1]))

    def compare(self, videos: Mapping[tuple[str, str], Taken]) -> None:
        """Compare with the published numbers and lists, and say what the real videos are."""
        self.compare_counts(videos)
        if not self.listed:
            self.notes.append(
                f"{', '.join(_LISTS)} are not in lists/splits: without them there is no official "
                "split. layout_options.lists names their folder"
            )
        else:
            fakes = {video for (_, video), each in videos.items() if each.label}
            self.compare_lists(self.listed, fakes, "703, 96 and 201 fakes are published")
        if not any(name == "target_videos" for name, _ in videos):
            self.notes.append(
                "The published real videos are FaceForensics++'s originals (c23): put them into "
                "target_videos, and leave out source_videos with layout_options.leave_out"
            )
