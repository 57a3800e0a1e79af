"""Pictures in a figure, each in a tile of its own with words beneath it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from deepfake_detection.images.reading import UnreadablePictureError, open_picture
from deepfake_detection.reports.words import printable, probability, wrapped

# Height of a tile's words, in inches.
CAPTION = 0.85
# All characters have one width, so that no name reaches into the next tile.
_FONT = "monospace"
_WIDTH, _LINES = 26, 3  # characters, lines of the path, beneath 1.55 inches
_MOST_PIXELS = 60_000  # Matplotlib draws up to 65,535 each way


@dataclass(frozen=True)
class Picture:
    """A picture for a figure: the image, or why there is none (`missing`, `unreadable`)."""

    image: Image.Image | None
    problem: str = ""


def load_picture(folder: Path, path: str, edge: int) -> Picture:
    """A picture in RGB, its longer edge at most `edge` pixels; or why it cannot be shown."""
    try:
        image = open_picture((folder / path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Picture(None, "missing")
    except (OSError, ValueError, UnreadablePictureError):
        return Picture(None, "unreadable")
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return Picture(image)


def tiled_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, without the automatic layout."""
    dpi = min(rcParams["figure.dpi"], _MOST_PIXELS / max(width, height))
    figure = Figure(figsize=(width, height), dpi=dpi)
    # it would be slow, and move tiles with the captions' lengths
    figure.set_layout_engine("none")
    return figure


def add_words(figure: Figure, left: float, top: float, words: str, **text_options: Any) -> None:
    """Put words at a place, in inches from the figure's upper left corner."""
    width, height = figure.get_size_inches()
    defaults = {"fontsize": 8.5, "va": "top", "color": rcParams["axes.labelcolor"]}
    figure.text(left / width, 1 - top / height, words, **defaults | text_options)


def add_picture(
    figure: Figure, picture: Picture, path: str, left: float, top: float, edge: float
) -> Axes:
    """Put a picture into a square tile (inches); one that cannot be shown is named on grey."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, 1 - (top + edge) / height, edge / width, edge / height))
    axes.set_axis_off()
    if picture.image is None:
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor=rcParams["grid.color"]))
        axes.text(
            0.5, 0.5, f"{picture.problem}\n\n{wrapped(printable(path), _WIDTH, _LINES)}",
            ha="center", va="center", fontsize=6.8, family=_FONT,
        )  # fmt: skip
    else:
        # Lanczos would double the time of a gallery, and `load_picture` has used it already
        axes.imshow(picture.image, interpolation="bilinear")
        axes.set_anchor("S")
    return axes


def add_caption(
    figure: Figure, path: str, source: str, fake_probability: float, left: float, top: float
) -> None:
    """Put a picture's fake probability, source and path at a place, in inches."""
    score = f"fake probability {probability(fake_probability)}"
    ink = rcParams["text.color"]
    add_words(figure, left, top, score, fontsize=7.5, weight="bold", color=ink)
    named = wrapped(f"source {printable(source)}", _WIDTH, 1)
    words = f"{named}\n{wrapped(printable(path), _WIDTH, _LINES)}"
    add_words(figure, left, top + 0.14, words, fontsize=6.8, linespacing=1.25, family=_FONT)
