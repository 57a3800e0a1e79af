"""Figure of the pairs in the leakage audit."""

from pathlib import Path

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from deepfake_detection.images.reading import UnreadablePictureError, read_picture
from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.tiles import add_words
from deepfake_detection.reports.words import counted, printable, wrapped

_TITLE = "Leakage audit"
# sizes in inches
_TILE = 1.5
_BETWEEN = 0.08  # the two pictures of a pair
_GAP = 0.3  # pairs
_PAIR = 2 * _TILE + _BETWEEN
_ABOVE = 0.38  # the words above a pair
_BELOW = 0.52
_HEAD = 0.6
_CAPTION_FONT = "monospace"  # so that no name is wider than its tile
_CAPTION_WIDTH, _CAPTION_LINES = 25, 3  # characters, lines of subset and path
_TILE_PIXELS = 320
_MOST_PIXELS = 60_000  # Matplotlib draws up to 65,535 each way


def choose_pairs(leaks: pd.DataFrame, size: int) -> pd.DataFrame:
    """Choose at most `size` pairs: each image of the later subset once, in its most similar pair.

    The leakage audit lists the most similar pairs first.
    """
    return leaks.drop_duplicates("other_path").head(size)


def draw_pairs(leaks: pd.DataFrame, folder: Path, size: int, columns: int) -> Figure:
    """Draw the most similar pairs, `columns` in a row, each picture in its subset's colour.

    For a picture that is missing or unreadable, a grey tile gives the reason.
    """
    chosen = choose_pairs(leaks, size)
    with drawing():
        if leaks.empty:
            return message_figure("No picture of one subset was\nfound in another.", _TITLE)
        across = min(columns, max(len(chosen), 2))
        down = -(-len(chosen) // across)
        width = _GAP + across * (_PAIR + _GAP)
        height = _HEAD + down * (_ABOVE + _TILE + _BELOW)
        dpi = min(rcParams["figure.dpi"], _MOST_PIXELS / height)
        figure = Figure(figsize=(width, height), dpi=dpi)
        # positions are computed: an automatic layout is slow and depends on the captions' lengths
        figure.set_layout_engine("none")
        figure.text(_GAP / width, 1 - 0.2 / height, _TITLE, weight="bold", fontsize=11.5, va="top")
        add_words(figure, _GAP, 0.42, _in_words(leaks, chosen))
        for number, (_, pair) in enumerate(chosen.iterrows()):
            left = _GAP + number % across * (_PAIR + _GAP)
            top = _HEAD + number // across * (_ABOVE + _TILE + _BELOW) + 0.1
            _add_pair(figure, pair, folder, left, top)
        return finished(figure)


def _in_words(leaks: pd.DataFrame, chosen: pd.DataFrame) -> str:
    images = leaks["other_path"].nunique()
    words = f"{counted(len(leaks), 'pair')}, of {counted(images, 'image')} of the later subset"
    if len(chosen) < images:
        return f"{words}; {len(chosen):,} of these are shown, each with its most alike."
    return f"{words}, each shown with its most alike."


def _add_pair(figure: Figure, pair: pd.Series, folder: Path, left: float, top: float) -> None:
    add_words(figure, left, top, str(pair["kind"]).capitalize(), weight="bold", fontsize=7.5)
    # rounded down: only equal pictures show 1
    correlation = f"correlation {int(pair['correlation'] * 1e4) / 1e4:.4f}"
    bits = counted(int(pair["hash_distance"]), "bit")
    add_words(figure, left, top + 0.14, f"{correlation}, {bits} apart", fontsize=7.5)
    below = top + _ABOVE - 0.08
    for at, prefix in ((left, ""), (left + _TILE + _BETWEEN, "other_")):
        path, subset = str(pair[f"{prefix}path"]), str(pair[f"{prefix}subset"])
        _add_picture(figure, folder / path, colour_of(subset), at, below)
        caption = wrapped(printable(path), _CAPTION_WIDTH, _CAPTION_LINES - 1)
        add_words(
            figure, at, below + _TILE + 0.06, f"{subset}\n{caption}", fontsize=6.8,
            linespacing=1.25, family=_CAPTION_FONT,
        )  # fmt: skip


def _add_picture(figure: Figure, path: Path, colour: str, left: float, top: float) -> None:
    width, height = figure.get_size_inches()
    axes: Axes = figure.add_axes(
        (left / width, 1 - (top + _TILE) / height, _TILE / width, _TILE / height)
    )
    axes.set_axis_off()
    try:
        image = read_picture(path)
    except UnreadablePictureError as error:
        axes.add_patch(Rectangle((0, 0), 1, 1, facecolor=rcParams["grid.color"]))
        problem = wrapped(printable(str(error)), _CAPTION_WIDTH - 2, 3)
        axes.text(0.5, 0.5, problem, ha="center", va="center", fontsize=6.8, family=_CAPTION_FONT)
        return
    image.thumbnail((_TILE_PIXELS, _TILE_PIXELS), Image.Resampling.LANCZOS)
    axes.imshow(image, interpolation="lanczos")
    axes.add_patch(
        Rectangle((0, 0), 1, 1, transform=axes.transAxes, fill=False, edgecolor=colour, lw=3)
    )
