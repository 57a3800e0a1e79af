"""What a layout is: it names the label, source, group and official subset of each file."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ImageSetParameters

T = TypeVar("T")

# What tables and folders of data sets call labels and subsets, in small letters
LABEL_NAMES = {
    "real": 0, "0": 0, "0.0": 0, "false": 0, "fake": 1, "1": 1, "1.0": 1, "true": 1,
}  # fmt: skip
SUBSET_NAMES = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip

COLUMNS = [
    "path", "class_name", "label", "reason", "source", "group", "official_subset", "medium",
    "folder", "track",
]  # fmt: skip


@dataclass(frozen=True)
class LabelledFiles:
    """The files of a folder, as a layout reads them.

    `files` has a row for each file (or each face track of it, where a table labels tracks), in
    natural order, with the columns:

    - path: relative to the folder, with `/`
    - class_name: such as real, Deepfakes, youtube; empty where the file cannot be used
    - label: 1 fake, 0 real, missing for none (Int64)
    - reason: why the file is not used, or None
    - source: None where the rule `source` names it
    - group: None where the rule `group` names it
    - official_subset: train, validation, test or None
    - medium: "video" (a video, or a frame or a crop of one), "photograph", or None where unknown
    - folder: the class folder, such as train/real: the rules `source` and `group` count inside it
    - track: the number of a face track, or missing for all of the file (Int64)
    """

    layout: str
    files: pd.DataFrame
    notes: list[str]  # what the log says


class FileRow(NamedTuple):
    """A row of `LabelledFiles.files`."""

    path: str
    class_name: str = ""
    label: int | None = None
    reason: str | None = None
    source: str | None = None
    group: str | None = None
    official_subset: str | None = None
    medium: str | None = None
    folder: str = ""
    track: int | None = None


class Layout(ABC):
    """How a folder is laid out. Each instance reads one folder."""

    name: ClassVar[str]

    def __init__(self, folder: Path, image_set: ImageSetParameters) -> None:
        self.folder = folder
        self.image_set = image_set
        self.options = image_set.layout_options
        self.notes: list[str] = []

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:
        """Whether a folder looks like this. It may list folders and read a few lines, no more."""

    @abstractmethod
    def read(self, *, videos: bool) -> list[FileRow]:
        """List the files in natural order, and add to `notes` what the log should say.

        `videos` says whether videos are wanted too, or pictures alone.

        Raises:
            UserError: If the folder is not of this layout.
        """

    def note_passed(self, passed: Mapping[str, int]) -> None:
        """Add a note on files that are passed over: how many of each kind."""
        if passed:
            said = ", ".join(f"{what} ({count:,})" for what, count in passed.items())
            self.notes.append(f"Not taken for images or videos to use: {said}")

    def leave_out(
        self, files: list[T], class_of: Callable[[T], str], known: Collection[str] = ()
    ) -> list[T]:
        """Drop the files of the classes of `layout_options.leave_out`; a note counts them.

        Args:
            files: Of all classes.
            class_of: Names the class of each.
            known: Classes that may be left out although the folder lacks them.

        Raises:
            UserError: If a class is unknown.
        """
        names = self.options.leave_out
        there = Counter(class_of(each) for each in files)
        classes = [*filter(None, there), *(name for name in known if name not in there)]
        for name in names:
            if name not in classes:
                raise UserError(
                    f"parameter 'layout_options.leave_out': there is no class '{name}' in "
                    f"{self.folder}. Classes: {', '.join(classes)}"
                )
        if names:
            said = ", ".join(f"{name} ({there[name]:,} files)" for name in names)
            self.notes.append(f"Left out (layout_options.leave_out): {said}")
        return [each for each in files if class_of(each) not in names]


def to_table(rows: list[FileRow]) -> pd.DataFrame:
    """Make the table of `LabelledFiles`."""
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    return table.astype({"label": "Int64", "track": "Int64"})
