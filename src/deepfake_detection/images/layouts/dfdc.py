"""The Deepfake Detection Challenge's data set (DFDC)."""

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from deepfake_detection.errors import UserError
from deepfake_detection.images.layouts.base import LABEL_NAMES, SUBSET_NAMES
from deepfake_detection.images.layouts.data_set import (
    SIDE_FOLDERS,
    DataSetLayout,
    PassedOver,
    Taken,
    below_media_folder,
    read_text,
    video_name,
)
from deepfake_detection.parameters import ImageSetParameters

_PUBLISHED = {"train": 119_154, "validation": 4_000, "test": 5_000}
_DEPTHS = ("", "*/", "*/*/")


class Dfdc(DataSetLayout):
    """Folders of videos, each with its metadata.json, labels.csv or metadata.csv."""

    name = "dfdc"
    title = "DFDC"
    related_to = "an original video"

    def __init__(self, folder: Path, image_set: ImageSetParameters) -> None:
        super().__init__(folder, image_set)
        self.parts: dict[PurePosixPath, tuple[str, dict[str, dict[str, Any]]]] = {}
        for kind, read in (("metadata.csv", _read_csv), ("labels.csv", _read_csv),
                           ("metadata.json", _read_json)):  # fmt: skip
            for depth in _DEPTHS:
                for path in sorted(folder.glob(depth + kind)):
                    at = PurePosixPath(path.parent.relative_to(folder).as_posix())
                    self.parts[at] = (kind, read(path))
        if not self.parts:
            raise UserError(
                f"{folder} and its folders hold no metadata.json (or labels.csv, metadata.csv), "
                "which gives the labels of DFDC"
            )

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:  # noqa: ARG003
        """Whether a metadata.json in it, or in its first folders, names labels of files."""
        paths = (path for depth in _DEPTHS for path in folder.glob(f"{depth}metadata.json"))
        if (path := next(paths, None)) is None:
            return False
        try:
            return bool(_read_json(path))
        except UserError:
            return False

    def describe(self, path: PurePosixPath) -> Taken | PassedOver | str:
        """Read `dfdc_train_part_0/aaa.mp4` with the metadata.json beside it."""
        at = next((parent for parent in path.parents if parent in self.parts), None)
        if at is None:
            return "no metadata.json is in its folder or above"
        rest = path.relative_to(at).parts
        if rest[0].lower() in SIDE_FOLDERS:
            return PassedOver(f"files in folders '{rest[0]}'")
        kind, described = self.parts[at]
        # videos may lie one folder deeper than the file that describes them
        for cut in range(len(rest)):
            below = below_media_folder(rest[cut:])
            video = video_name(below) or ""
            if video in described:
                break
        else:
            return f"not in {kind}"
        place = PurePosixPath(*path.parts[: len(path.parts) - len(below)])
        facts = described[video]
        original = facts["original"] or video
        subset = facts["subset"] or _subset_of(place)
        name = "fake" if facts["label"] else "real"
        return Taken(name, facts["label"], video, (original, video), place, subset)

    def compare(self, videos: Mapping[tuple[str, str], Taken]) -> None:
        """Compare with the published numbers, and say which listed videos are missing."""
        self.compare_counts(videos)
        counts = Counter(each.subset for each in videos.values() if each.subset)
        said = [f"{count:,} of {_PUBLISHED[name]:,} {name}" for name, count in counts.items()]
        if said:
            part = any(counts[name] < number for name, number in _PUBLISHED.items())
            rest = ". This is a part of DFDC" if part else ""
            self.notes.append(f"Official subsets: {', '.join(said)} videos{rest}")
        there = {video for _, video in videos}
        missing = sorted({name for _, each in self.parts.values() for name in each} - there)
        if missing:
            self.notes.append(
                f"{len(missing):,} listed videos are not here, the first being {missing[0]}"
            )
        lone = sum(len(set(each.related)) == 1 for each in videos.values() if each.label)
        if lone:
            self.notes.append(f"Fakes that name no original, each a group of its own: {lone:,}")


def _read_json(path: Path) -> dict[str, dict[str, Any]]:
    try:
        listed: Any = json.loads(read_text(path))
        return {_stem(name): _facts(path, name, facts) for name, facts in listed.items()}
    except (ValueError, AttributeError, TypeError):
        raise UserError(
            f'{path} is not as {{"aaa.mp4": {{"label": "FAKE", "split": "train", "original": '
            '"bbb.mp4"}}'
        ) from None


def _read_csv(path: Path) -> dict[str, dict[str, Any]]:
    rows = csv.DictReader(read_text(path).splitlines())
    if not {"filename", "label"} <= set(rows.fieldnames or ()):
        raise UserError(f"{path} should have the columns filename and label")
    return {_stem(row["filename"]): _facts(path, row["filename"], row) for row in rows}


def _facts(path: Path, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    label = LABEL_NAMES.get(str(facts.get("label", facts.get("is_fake", ""))).lower())
    if label is None:
        raise UserError(f"{path}: '{name}' has no label, which should be REAL or FAKE")
    original = facts.get("original")
    return {
        "label": label,
        "original": _stem(original) if label and original else None,
        "subset": SUBSET_NAMES.get(str(facts.get("split")).lower()),
    }


def _subset_of(place: PurePosixPath) -> str | None:
    """The subset that a folder's name names: `dfdc_train_part_0`, `test`."""
    words = {word for part in place.parts for word in re.split(r"[^a-z]+", part.lower())}
    return next((subset for word, subset in SUBSET_NAMES.items() if word in words), None)


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
