"""What a layout is: it names the label, source, group and official subset of each file."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd

from deepfake_detection.parameters import ImageSetParameters

COLUMNS = [
    "path", "class_name", "label", "reason", "source", "group", "official_subset", "medium",
    "folder",
]  # fmt: skip


@dataclass(frozen=True)
class LabelledFiles:
    """The files of a folder, as a layout reads them.

    `files` has a row for each file, in natural order, with the columns:

    - path: relative to the folder, with `/`
    - class_name: such as real, Deepfakes, youtube; empty where the file cannot be used
    - label: 1 fake, 0 real, missing for none (Int64)
    - reason: why the file is not used, or None
    - source: None where the rule `source` names it
    - group: None where the rule `group` names it
    - official_subset: train, validation, test or None
    - medium: "video" (a video, or a frame or a crop of one), "photograph", or None where unknown
    - folder: the class folder, such as train/real, inside which the rules `source` and `group` count
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

    @property
    def known_classes(self) -> Collection[str]:
        """Classes that may be left out although the folder lacks them."""
        return ()


def to_table(rows: list[FileRow]) -> pd.DataFrame:
    """Make the table of `LabelledFiles`."""
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    return table.astype({"label": "Int64"})
