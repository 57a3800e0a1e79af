"""Galleries of the false cases: which pictures they hold, and how they look as a figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure

from deepfake_detection.metrics.cases import label_of, rank_cases
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.reports.style import (
    Theme,
    drawing,
    finished,
    message_figure,
)
from deepfake_detection.reports.tiles import (
    CAPTION,
    add_caption,
    add_picture,
    add_words,
    load_picture,
    tiled_figure,
)

Kind = Literal["false negative", "false positive"]
KINDS: tuple[Kind, ...] = ("false negative", "false positive")

_NAMES: dict[Kind, str] = {"false negative": "fakes", "false positive": "real images"}

# Sizes of the figure, in inches.
_TILE = 1.55
_GAP = 0.2
_HEAD = 0.6
_TILE_PIXELS = 320


@dataclass(frozen=True)
class FalseCase:
    """A picture that the detector judged wrongly."""

    path: str
    class_name: str
    source: str
    fake_probability: float


@dataclass(frozen=True)
class Gallery:
    """The false cases of one kind in one subset.

    Attributes:
        kind: False negative or false positive.
        subset: The subset they come from.
        cases: Those shown, the most confident error first.
        total: How many there are.
        candidates: How many images could have gone wrong in this way.
    """

    kind: Kind
    subset: str
    cases: tuple[FalseCase, ...]
    total: int
    candidates: int

    def in_words(self) -> str:
        """How many false cases there are, out of how many images, and how many are shown."""
        name = _NAMES[self.kind]
        if not self.candidates:
            return f"The subset {self.subset} holds no {name}."
        if not self.total:
            return f"No {self.kind} among the {self.candidates:,} {name} of {self.subset}."
        plural = self.kind if self.total == 1 else f"{self.kind}s"
        words = f"{self.total:,} {plural} among the {self.candidates:,} {name} of {self.subset}"
        if len(self.cases) < self.total:
            return f"{words}; the {len(self.cases):,} most confident are shown."
        return f"{words}." if self.total == 1 else f"{words}, the most confident first."


def collect_gallery(predictions: pd.DataFrame, kind: Kind, size: int) -> Gallery:
    """The false cases of the headline subset, the most confident first, at most `size` of them.

    Args:
        predictions: A row for each scored image: path, class_name, label, source, subset, logit,
            fake_probability, predicted.
        kind: `false negative` (a fake called real) or `false positive` (a real one called fake).
        size: How many to keep.
    """
    subset, scored = headline_predictions(predictions)
    candidates = scored[scored["label"] == label_of(kind)]
    errors = rank_cases(scored, kind)
    columns = ["path", "class_name", "source", "fake_probability"]
    cases = tuple(
        FalseCase(str(path), str(class_name), str(source), float(fake_probability))
        for path, class_name, source, fake_probability in errors[columns]
        .head(size)
        .itertuples(index=False, name=None)
    )
    return Gallery(kind, subset, cases, len(errors), len(candidates))


def draw_gallery(gallery: Gallery, folder: Path, columns: int, theme: Theme = "light") -> Figure:
    """The gallery as a figure: under each picture its path, fake probability and source.

    A picture that is missing or unreadable is named on a grey tile in its place.

    Args:
        gallery: What to show.
        folder: The image folder.
        columns: Pictures in a row.
        theme: For a light or a dark background.
    """
    title = f"{gallery.kind.capitalize()}s"
    with drawing(theme):
        if not gallery.cases:
            return message_figure(gallery.in_words(), title)
        across = min(columns, max(len(gallery.cases), 3))
        down = -(-len(gallery.cases) // across)
        width = _GAP + across * (_TILE + _GAP)
        height = _HEAD + down * (_TILE + CAPTION)
        figure = tiled_figure(width, height)
        title_looks = {"weight": "bold", "fontsize": 11.5, "color": rcParams["text.color"]}
        add_words(figure, _GAP, 0.2, title, **title_looks)
        add_words(figure, _GAP, 0.4, gallery.in_words())
        for case, (left, top) in zip(gallery.cases, _places(across), strict=False):
            picture = load_picture(folder, case.path, _TILE_PIXELS)
            add_picture(figure, picture, case.path, left, top, _TILE)
            beneath = top + _TILE + 0.07
            add_caption(figure, case.path, case.source, case.fake_probability, left, beneath)
        return finished(figure)


def _places(across: int) -> Iterator[tuple[float, float]]:
    """Left and top of one tile after the other, in inches from the figure's upper left corner."""
    row = 0
    while True:
        for column in range(across):
            yield _GAP + column * (_TILE + _GAP), _HEAD + 0.1 + row * (_TILE + CAPTION)
        row += 1
