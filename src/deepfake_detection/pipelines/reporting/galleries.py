"""Which errors of the headline subset are shown, and the galleries of them that are figures."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure

from deepfake_detection.metrics.cases import Kind, label_of, rank_cases
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.reports.style import drawing, finished, message_figure
from deepfake_detection.reports.tiles import (
    CAPTION,
    add_caption,
    add_picture,
    add_words,
    load_picture,
    tiled_figure,
)
from deepfake_detection.reports.words import counted

# Sizes of the figure, in inches.
_TILE = 1.55
_GAP = 0.2
_HEAD = 0.6
_TILE_PIXELS = 320


@dataclass(frozen=True)
class Gallery:
    """The errors of one kind in one subset."""

    kind: Kind
    subset: str
    cases: pd.DataFrame  # path, class_name, source, fake_probability, the most confident first
    total: int  # errors, shown or not
    candidates: int  # images of their class

    def in_words(self) -> str:
        """How many errors there are, among how many images, and how many are shown."""
        name = "fake" if label_of(self.kind) else "real image"
        if not self.candidates:
            return f"The subset {self.subset} holds no {name}s."
        among = f"among {counted(self.candidates, name)} of {self.subset}"
        if not self.total:
            return f"No {self.kind} {among}."
        words = f"{counted(self.total, self.kind)} {among}"
        if len(self.cases) < self.total:
            return f"{words}; the {len(self.cases):,} most confident are shown."
        return f"{words}." if self.total == 1 else f"{words}, the most confident first."


def collect_gallery(predictions: pd.DataFrame, kind: Kind, size: int) -> Gallery:
    """The errors of the headline subset, the most confident first, at most `size` of them."""
    subset, scored = headline_predictions(predictions)
    errors = rank_cases(scored, kind)
    cases = errors[["path", "class_name", "source", "fake_probability"]].head(size)
    candidates = int((scored["label"] == label_of(kind)).sum())
    return Gallery(kind, subset, cases, len(errors), candidates)


def draw_gallery(gallery: Gallery, folder: Path, columns: int) -> Figure:
    """The gallery as a figure: under each picture its path, fake probability and source."""
    title = f"{gallery.kind.capitalize()}s"
    with drawing():
        if gallery.cases.empty:
            return message_figure(gallery.in_words(), title)
        across = min(columns, max(len(gallery.cases), 3))
        down = -(-len(gallery.cases) // across)
        figure = tiled_figure(_GAP + across * (_TILE + _GAP), _HEAD + down * (_TILE + CAPTION))
        title_options = {"weight": "bold", "fontsize": 11.5, "color": rcParams["text.color"]}
        add_words(figure, _GAP, 0.2, title, **title_options)
        add_words(figure, _GAP, 0.4, gallery.in_words())
        for place, case in enumerate(gallery.cases.to_dict("records")):
            left = _GAP + place % across * (_TILE + _GAP)
            top = _HEAD + 0.1 + place // across * (_TILE + CAPTION)
            picture = load_picture(folder, case["path"], _TILE_PIXELS)
            add_picture(figure, picture, case["path"], left, top, _TILE)
            add_caption(
                figure, case["path"], case["source"], case["fake_probability"], left,
                top + _TILE + 0.07,
            )  # fmt: skip
        return finished(figure)
