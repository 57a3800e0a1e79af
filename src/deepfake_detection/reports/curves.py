"""What figures over epochs share: the best epoch, the axis, and names at the ends of lines."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.isotonic import isotonic_regression

from deepfake_detection.reports.words import folded

# Of names at the ends of lines: points, and characters of a line
_SIZE, _LINE = 9, 1.3
_CHARACTERS = 26


def best_row(history: pd.DataFrame) -> pd.Series | None:
    """The epoch that was kept, by `training.select_by`; None without a validation subset."""
    # histories of older versions were selected by accuracy
    by = "selection" if "selection" in history else "validation_accuracy"
    known = history.dropna(subset=[by])
    return None if known.empty else known.iloc[int(known[by].argmax())]


def number_epochs(axes: Axes, first: int, last: int) -> None:
    """Let the x axis run from the first to the last epoch, with ticks at whole numbers only."""
    # at least half an epoch on both sides, and enough that no marker touches the axis
    margin = max(0.5, (last - first) * 0.03)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.grid(visible=False, axis="x")


def label_ends(figure: Figure, axes: Axes) -> None:
    """Write the label of each line beside its last point, as near to it as the others allow.

    All else of the figure is there already: the height of the axes is known only then.
    """
    ends = {}
    for line in axes.lines:
        points = np.asarray(line.get_xydata())
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) and not str(line.get_label()).startswith("_"):
            ends[line] = points[-1]
    figure.draw_without_rendering()
    names = [folded(str(line.get_label()), _CHARACTERS, 2) for line in ends]
    points_high = axes.get_window_extent().height * 72 / figure.dpi
    heights = [(name.count("\n") + 1) * _SIZE * _LINE / points_high for name in names]
    to_axes = axes.transData + axes.transAxes.inverted()
    places = spread_apart([to_axes.transform(end)[1] for end in ends.values()], heights)
    for (line, end), name, place in zip(ends.items(), names, places, strict=True):
        axes.annotate(
            name, end, (1.03, place), textcoords="axes fraction", va="center", fontsize=_SIZE,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.8,
                        "relpos": (0, 0.5), "shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip


def spread_apart(wanted: Sequence[float], heights: Sequence[float]) -> np.ndarray:
    """Places in 0 to 1 near the wanted ones, of boxes of these heights that do not overlap.

    The squared distances are least. Where the boxes together are higher than 1, the last ones lie
    above it.
    """
    order = np.argsort(wanted, kind="stable")
    high = np.asarray(heights, dtype=float)[order]
    # how far each lies above the lowest if all touch
    stacked = np.cumsum(high) - high / 2
    room = max(1 - high.sum(), 0)
    found = np.empty(len(order))
    free = np.asarray(wanted, dtype=float)[order] - stacked
    if len(order):
        found[order] = isotonic_regression(free, y_min=0, y_max=room) + stacked
    return found
