"""Galleries of the false cases: which pictures they hold, and how they look as a figure."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from deepfake_detection.detector.pictures import UnreadablePictureError, open_picture
from deepfake_detection.pipelines.reporting.subsets import headline_predictions
from deepfake_detection.plotting.style import (
    Theme,
    drawing,
    finished,
    message_figure,
)
from deepfake_detection.plotting.words import printable, probability, wrapped

Kind = Literal["missed fake", "false alarm"]
KINDS: tuple[Kind, ...] = ("missed fake", "false alarm")

# label of the images that can go wrong in this way
_LABELS: dict[Kind, int] = {"missed fake": 1, "false alarm": 0}
_NAMES: dict[Kind, str] = {"missed fake": "fakes", "false alarm": "real images"}

# Sizes of the figure, in inches.
_TILE = 1.55
_GAP = 0.2
_CAPTION = 0.85
_HEAD = 0.6
# In a font whose characters are all of one width, so that no name reaches into the next tile.
_CAPTION_FONT = "monospace"
_CAPTION_WIDTH, _CAPTION_LINES = 26, 3  # characters, lines of the path
_TILE_PIXELS = 320
_MOST_PIXELS = 60_000  # Matplotlib draws up to 65,535 each way


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
        kind: Missed fake or false alarm.
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


@dataclass(frozen=True)
class Picture:
    """A picture for a gallery: the image, or why there is none (`missing`, `unreadable`)."""

    image: Image.Image | None
    problem: str = ""


def collect_gallery(predictions: pd.DataFrame, kind: Kind, size: int) -> Gallery:
    """The false cases of the headline subset, the most confident first, at most `size` of them.

    Args:
        predictions: A row for each scored image: path, class_name, label, source, subset, logit,
            fake_probability, predicted.
        kind: `missed fake` (a fake called real) or `false alarm` (a real one called fake).
        size: How many to keep.
    """
    subset, scored = headline_predictions(predictions)
    label = _LABELS[kind]
    candidates = scored[scored["label"] == label]
    errors = candidates[candidates["predicted"] != label].sort_values(
        # the logit tells apart what is equal as a probability
        ["fake_probability", "logit", "path"],
        ascending=[label == 1, label == 1, True],
    )
    columns = ["path", "class_name", "source", "fake_probability"]
    cases = tuple(
        FalseCase(str(path), str(class_name), str(source), float(fake_probability))
        for path, class_name, source, fake_probability in errors[columns]
        .head(size)
        .itertuples(index=False, name=None)
    )
    return Gallery(kind, subset, cases, len(errors), len(candidates))


def load_picture(folder: Path, path: str, edge: int) -> Picture:
    """A picture in RGB, its longer edge at most `edge` pixels; or why it cannot be shown.

    Args:
        folder: The image folder.
        path: The picture's path in it, with `/`.
        edge: Pixels.
    """
    try:
        image = open_picture((folder / path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Picture(None, "missing")
    except (OSError, ValueError, UnreadablePictureError):
        return Picture(None, "unreadable")
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return Picture(image)


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
        height = _HEAD + down * (_TILE + _CAPTION)
        dpi = min(rcParams["figure.dpi"], _MOST_PIXELS / max(width, height))
        # every place is computed: an automatic layout is slow and jumps with the captions' lengths
        figure = Figure(figsize=(width, height), dpi=dpi)
        figure.set_layout_engine("none")
        figure.text(_GAP / width, 1 - 0.2 / height, title, weight="bold", fontsize=11.5, va="top")
        figure.text(
            _GAP / width, 1 - 0.4 / height, gallery.in_words(), fontsize=8.5, va="top",
            color=rcParams["axes.labelcolor"],
        )  # fmt: skip
        for case, (left, top) in zip(gallery.cases, _places(across), strict=False):
            _add_tile(figure, case, load_picture(folder, case.path, _TILE_PIXELS), left, top)
        return finished(figure)


def _places(across: int) -> Iterator[tuple[float, float]]:
    """Left and top of one tile after the other, in inches from the figure's upper left corner."""
    row = 0
    while True:
        for column in range(across):
            yield _GAP + column * (_TILE + _GAP), _HEAD + 0.1 + row * (_TILE + _CAPTION)
        row += 1


def _add_tile(figure: Figure, case: FalseCase, picture: Picture, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes(
        (left / width, 1 - (top + _TILE) / height, _TILE / width, _TILE / height)
    )
    axes.set_axis_off()
    path = wrapped(printable(case.path), _CAPTION_WIDTH, _CAPTION_LINES)
    if picture.image is None:
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor=rcParams["grid.color"]))
        axes.text(
            0.5, 0.5, f"{picture.problem}\n\n{path}", ha="center", va="center", fontsize=6.8,
            family=_CAPTION_FONT,
        )  # fmt: skip
    else:
        axes.imshow(picture.image, interpolation="lanczos")
        axes.set_anchor("S")
    source = wrapped(f"source {printable(case.source)}", _CAPTION_WIDTH, 1)
    below = top + _TILE + 0.07
    figure.text(
        left / width, 1 - below / height,
        f"fake probability {probability(case.fake_probability)}", fontsize=7.5, va="top",
        weight="bold",
    )  # fmt: skip
    figure.text(
        left / width, 1 - (below + 0.14) / height, f"{source}\n{path}", fontsize=6.8, va="top",
        color=rcParams["axes.labelcolor"], linespacing=1.25, family=_CAPTION_FONT,
    )  # fmt: skip
