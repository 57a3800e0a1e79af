"""Figure of a sample of face crops."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.reports.style import drawing, finished
from deepfake_detection.reports.tiles import add_picture, add_words, load_picture, tiled_figure
from deepfake_detection.reports.words import counted, printable, shortened

# inches
_TILE, _GAP, _EDGE = 0.9, 0.06, 0.3
_HEAD, _CLASS, _CAPTION = 0.75, 0.32, 0.14
_COLUMNS = 12
_PIXELS = 180


def draw_crops(sample: pd.DataFrame, faces: Path, total: int) -> Figure:
    """Draw crops in rows of twelve, class by class.

    `sample` has rows of the face index, those of a class together; `total` is the number of all.
    If a file has several tracks (`tracks: all`), each crop has its file and track below it,
    as a table that labels tracks names them.
    """
    several = bool((sample["track"] > 0).any())
    row = _TILE + _GAP + several * _CAPTION
    classes = [(str(name), part) for name, part in sample.groupby("class_name", sort=False)]
    rows = {name: -(-len(part) // _COLUMNS) for name, part in classes}
    width = 2 * _EDGE + _COLUMNS * (_TILE + _GAP) - _GAP
    height = _HEAD + len(rows) * _CLASS + sum(rows.values()) * row + _EDGE
    with drawing():
        figure = tiled_figure(width, height)
        add_words(figure, _EDGE, 0.2, "Extracted faces", weight="bold", fontsize=11.5)
        shown = "all shown" if len(sample) == total else f"{len(sample)} shown, at even distances"
        words = f"{counted(total, 'face')}, {shown}. Each should be a face, centred and upright."
        if several:
            words += " Below each: its file and track."
        add_words(figure, _EDGE, 0.42, words)
        top = _HEAD
        for name, part in classes:
            heading = shortened(printable(name), 60) or "without a label"
            add_words(figure, _EDGE, top + 0.08, heading, weight="bold")
            top += _CLASS
            crops = part[["path", "file", "track"]].itertuples(index=False, name=None)
            for number, (path, file, track) in enumerate(crops):
                left = _EDGE + number % _COLUMNS * (_TILE + _GAP)
                below = top + number // _COLUMNS * row
                picture = load_picture(faces, path, _PIXELS)
                add_picture(figure, picture, path, left, below, _TILE)
                if several:
                    words = f"{shortened(printable(file), 16)}, {track}"
                    add_words(figure, left, below + _TILE + 0.02, words, fontsize=5.5)
            top += rows[name] * row
        return finished(figure)
