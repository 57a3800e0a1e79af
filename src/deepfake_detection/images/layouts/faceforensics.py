"""FaceForensics++, and the DeepFakeDetection data set (DFD) that is distributed with it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import is_system_file
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

_METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
_PUBLISHED = {"youtube": 1000, **dict.fromkeys(_METHODS, 1000)}
_PUBLISHED_DFD = {"actors": 363, "DeepFakeDetection": 3068}
_NAMES = frozenset({"youtube", "actors", "deepfakedetection", *map(str.lower, _METHODS)})
_DFD = frozenset({"actors", "deepfakedetection"})
_TREES = {"original_sequences": 0, "manipulated_sequences": 1}
# The same trees under the names that others give them
_TREE_NAMES = {
    **{name: name for name in _TREES}, "original": "original_sequences",
    "manipulated": "manipulated_sequences", "manipulate": "manipulated_sequences",
}  # fmt: skip
# c0 was the name of raw when the data set was new
_COMPRESSIONS = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}
_LISTS = {"train.json": "train", "val.json": "validation", "test.json": "test"}
_LIST_FOLDERS = ("", "splits", "dataset/splits")
_FEW = 5

_ORIGINAL = re.compile(r"(\d{3})(?!\d)")
_PAIR = re.compile(r"(\d{3})_(\d{3})(?!\d)")  # target, source
_ACTOR = re.compile(r"(\d{2})__[a-z]+(?:_[a-z]+)*")  # actor, scene
_ACTORS = re.compile(r"(\d{2})_(\d{2})__\w+?__[A-Z0-9]{8}(?![A-Z0-9])")  # target, source


class _FaceForensicsTree(DataSetLayout):
    """`original_sequences` and `manipulated_sequences`; a subclass says what it reads of them."""

    related_to = "an original video"
    reads_faceforensics: ClassVar[bool] = False
    reads_dfd: ClassVar[bool] = False

    def __init__(self, folder: Path, image_set: ImageSetParameters) -> None:
        super().__init__(folder, image_set)
        self.subsets: Mapping[str, str] = self._read_lists() if self.reads_faceforensics else {}

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:  # noqa: ARG003
        """Whether the tree holds just the data sets that this layout reads."""
        tops = [path for path in folder.iterdir() if path.is_dir()]
        found = [
            _in_tree((top.name, below))
            for top in tops
            for below in (_names_in(top) if top.name.lower() in _TREE_NAMES else [""])
        ]
        names = {parts[1].lower() for parts in found if parts[0] in _TREES}
        # one folder of such a name may hold anything
        if not any(top.name.lower() in _TREES for top in tops) and len(names) < 2:
            return False
        has_dfd, others = bool(names & _DFD), bool(names - _DFD)
        return (has_dfd, others) == (cls.reads_dfd, cls.reads_faceforensics)

    def describe(self, path: PurePosixPath) -> Taken | PassedOver | str:
        """Read `manipulated_sequences/METHOD/c23/videos/000_003.mp4`."""
        parts = _in_tree(path.parts)
        if len(parts) < 3 or parts[0].lower() not in _TREES:
            return "outside of original_sequences and manipulated_sequences"
        name, label = parts[1], _TREES[parts[0].lower()]
        is_dfd = name.lower() in _DFD
        if not (self.reads_dfd if is_dfd else self.reads_faceforensics):
            return PassedOver(f"files of {name}, which the layout {self.name} does not read")
        compression = _COMPRESSIONS.get(parts[2].lower(), "")
        rest = parts[3:] if compression else parts[2:]
        if rest and rest[0].lower() in SIDE_FOLDERS:
            return PassedOver(f"files in folders '{rest[0]}'")
        rest = below_media_folder(rest)
        if not rest:
            return "not in the folder of a video"
        place = PurePosixPath(*path.parts[: len(path.parts) - len(rest)])
        read = self._read_dfd_name if is_dfd else self._read_name
        found = read(rest[0], label)
        if found is None:
            example = ("01__exit_phone_room", "01_02__exit_phone_room__YVGY8LOK") if is_dfd else (
                "000", "000_003"
            )  # fmt: skip
            return f"its name is not that of a video, such as {example[label]}"
        video, related, subset = found
        return Taken(name, label, video, related, place, subset, compression)

    def _read_name(self, name: str, label: int) -> tuple[str, tuple[str, ...], str | None] | None:
        match = (_PAIR if label else _ORIGINAL).match(name)
        if match is None:
            return None
        subsets = {self.subsets.get(number) for number in match.groups()}
        subset = subsets.pop() if len(subsets) == 1 else None
        return match.group(), tuple(f"youtube/{number}" for number in match.groups()), subset

    def _read_dfd_name(
        self, name: str, label: int
    ) -> tuple[str, tuple[str, ...], str | None] | None:
        match = (_ACTORS if label else _ACTOR).match(name)
        if match is None:
            return None
        return match.group(), tuple(f"actors/{actor}" for actor in match.groups()), None

    def select(self, taken: list[tuple[str, Taken]]) -> list[tuple[str, Taken]]:
        """Keep one compression."""
        found = sorted({each.compression for _, each in taken} - {""})
        wanted = self.options.compression
        if wanted is None:
            if len(found) > 1:
                raise UserError(
                    f"{self.folder} holds {' and '.join(found)} side by side, and a detector "
                    "learns the difference. Say which one to read in parameter "
                    f"'layout_options.compression': {', '.join(found)}"
                )
            return taken
        kept = [(path, each) for path, each in taken if each.compression in (wanted, "")]
        if not any(each.compression == wanted for _, each in kept):
            raise UserError(
                f"parameter 'layout_options.compression' is {wanted}, and {self.folder} has "
                f"{', '.join(found) or 'no folders raw, c23 or c40'}"
            )
        if less := len(taken) - len(kept):
            self.passed[f"files of other compressions than {wanted}"] += less
        return kept

    def compare(self, videos: Mapping[tuple[str, str], Taken]) -> None:
        """Compare with the published numbers and the official lists."""
        self.compare_counts(videos)
        if self.reads_dfd:
            self.notes.append("DFD has no official split: its videos have no official subset")
        if not self.reads_faceforensics:
            return
        if not self.subsets:
            self.notes.append(
                f"FaceForensics++'s {', '.join(_LISTS)} are not here: without them there is no "
                "official split. layout_options.lists names their folder"
            )
            return
        originals = [video for name, video in videos if name == "youtube"]
        if originals:
            self.compare_lists(
                self.subsets, originals, "720, 140 and 140 are published", "originals"
            )
        torn = [
            video
            for (_, video), each in videos.items()
            if each.label
            and each.subset is None
            and all(name.removeprefix("youtube/") in self.subsets for name in each.related)
        ]
        if torn:
            self.notes.append(
                f"{len(torn)} fakes have no official subset, since their two originals stand in "
                f"different ones: {', '.join(torn[:_FEW])}"
            )
        alone = sum(
            each.subset is None for (name, _), each in videos.items() if name.lower() not in _DFD
        )
        if alone:
            self.notes.append(f"{alone} videos have no official subset")

    def _read_lists(self) -> dict[str, str]:
        subsets: dict[str, str] = {}
        for name, path in find_lists(self, _LISTS, _LIST_FOLDERS).items():
            for number in _numbers(path):
                if subsets.setdefault(number, _LISTS[name]) != _LISTS[name]:
                    raise UserError(f"{path}: video {number} stands in another list too")
        return subsets


class FaceForensics(_FaceForensicsTree):
    """FaceForensics++: YouTube originals and five manipulations."""

    name = "faceforensics"
    title = "FaceForensics++"
    published = _PUBLISHED
    reads_faceforensics = True


class FaceForensicsDfd(_FaceForensicsTree):
    """DFD: actors, and fakes of them."""

    name = "faceforensics_dfd"
    title = "DFD"
    published = _PUBLISHED_DFD
    related_to = "an actor"
    reads_dfd = True


class FaceForensicsAndDfd(_FaceForensicsTree):
    """Both data sets in one tree."""

    name = "faceforensics_and_dfd"
    title = "FaceForensics++ and DFD"
    published = _PUBLISHED | _PUBLISHED_DFD
    related_to = "an original video or an actor"
    reads_faceforensics = True
    reads_dfd = True


def _in_tree(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The path in the official tree, of one in a tree that others distribute."""
    first, second, *_ = (*map(str.lower, parts), "")
    if (tree := _TREE_NAMES.get(first)) and (first in _TREES or second in _NAMES):
        return (tree, *parts[1:])
    if first == "original":
        return ("original_sequences", "youtube", *parts[1:])
    if first in ("actors", "youtube"):
        return ("original_sequences", *parts)
    return ("manipulated_sequences", *parts) if first in _NAMES else parts


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not is_system_file(Path(path.name))}


def _numbers(path: Path) -> list[str]:
    try:
        pairs: Any = json.loads(read_text(path))
        numbers = [number for pair in pairs for number in pair]
    except (ValueError, TypeError):
        numbers = [None]
    if not all(isinstance(number, str) and _ORIGINAL.fullmatch(number) for number in numbers):
        raise UserError(f'{path} is not a list of pairs of videos, such as [["000", "003"]]')
    return numbers
