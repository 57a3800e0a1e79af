"""Panels side by side, and axes of accuracies and epochs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from deepfake_detection.reports.curves import number_epochs
from deepfake_detection.reports.words import folded

Histories = Mapping[str, pd.DataFrame]

# Widths of a figure in inches, and of a title in characters, by the number of columns
_WIDTHS = {1: 6.4, 2: 7.2, 3: 9.2, 4: 9.6}
_CHARACTERS = {1: 56, 2: 31, 3: 27, 4: 21}
_TITLE_LINES = 3
# An axis of accuracies is at least this long, so that single images make no visible steps
_LEAST_SPAN = 0.02
# Low first epochs may make an axis so many times longer; those further below are cut off
_LONGEST = 2.5
_MARGIN = 0.05
# Histories up to this length are drawn in full
_FEW_EPOCHS = 4


def finite(*columns: Iterable[float]) -> np.ndarray:
    """The finite values of all columns."""
    numbers = np.concatenate([np.asarray(list(column), dtype=float) for column in (*columns, [])])
    return numbers[np.isfinite(numbers)]


def scale_accuracies(
    axes: Axes, values: np.ndarray, needed: np.ndarray | None = None, axis: Literal["x", "y"] = "y"
) -> bool:
    """Scale an axis of accuracies for all values, of which those not `needed` may be cut off.

    Returns:
        Whether some are.
    """
    needed = values if needed is None else needed
    high = values.max()
    span = max(high - needed.min(), _LEAST_SPAN)
    low = min(high - span, max(values.min(), high - _LONGEST * span))
    margin = _MARGIN * (high - low)
    # no room above 1 for another tick
    axes.set(**{f"{axis}lim": (low - margin, min(high, 1) + margin)})
    getattr(axes, f"{axis}axis").set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.ticklabel_format(axis=axis, style="plain", useOffset=False)
    return bool(values.min() < low - margin)


def scale_by_epoch(axes: Axes, histories: Histories, columns: Sequence[str]) -> str:
    """Scale the y axis for accuracies of these histories; returns a note if some are cut off."""
    drawn = [history[column] for history in histories.values() for column in columns]
    late = [each[len(each) // 2 :] if len(each) > _FEW_EPOCHS else each for each in drawn]
    best = [each.max() for each in drawn]
    cut = scale_accuracies(axes, finite(*drawn), finite(*late, best))
    return "First epochs far below the others are cut off." if cut else ""


def panel_grid(
    titles: Sequence[str], lines: Sequence[str], columns: int = 0
) -> tuple[Figure, list[Axes]]:
    """A figure with one panel for each title; all panels share both axes.

    Args:
        titles: Titles, of any length.
        lines: A short line beneath each title.
        columns: How many panels stand side by side, at most 4; 0 chooses.
    """
    columns = columns or (len(titles) if len(titles) < 3 else 2 if len(titles) == 4 else 3)
    rows = -(-len(titles) // columns)
    shown = [folded(title, _CHARACTERS[columns], _TITLE_LINES) for title in titles]
    height = rows * (1.95 + 0.19 * max(title.count("\n") + 1 for title in shown)) + 0.8
    figure = Figure(figsize=(_WIDTHS[columns], max(height, 3.4)))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, title, line in zip(grid, shown, lines, strict=False):
        axes.set_title(title, fontsize=10, pad=18 if line else 6)
        beneath = axes.text(0, 1.03, line, transform=axes.transAxes, fontsize=8.5)
        # it may be wider than the panel
        beneath.set_in_layout(False)
    for axes in grid[len(titles) :]:
        axes.set_visible(False)
    panels = list(grid[: len(titles)])
    # also above an empty place
    for axes in panels[-columns:]:
        axes.tick_params(labelbottom=True)
    return figure, panels


def label_panels(
    figure: Figure, panels: Sequence[Axes], histories: Histories, unit: str, notes: Iterable[str]
) -> None:
    """Number the epochs, write the unit beside all panels and notes beneath, add a legend."""
    epochs = finite(*(history["epoch"] for history in histories.values()))
    for axes in panels:
        number_epochs(axes, int(epochs.min()), int(epochs.max()))
    look = {"fontsize": rcParams["axes.labelsize"], "color": rcParams["axes.labelcolor"]}
    figure.supylabel(unit, **look)
    figure.supxlabel("\n".join(["Epoch", *filter(None, notes)]), **look)
    add_legend(figure, panels)


def add_legend(figure: Figure, panels: Iterable[Axes]) -> None:
    """A legend above all panels, with each label once."""
    lines = [line for axes in panels for line in axes.lines]
    shown = {str(line.get_label()): line for line in reversed(lines)}
    labels = [label for label in reversed(shown) if not label.startswith("_")]
    longest = max(map(len, labels))
    columns = 1 if longest > 56 else 2 if longest > 20 else 3
    figure.legend(
        [shown[label] for label in labels], labels,
        loc="outside upper left", ncols=columns, handlelength=2.6,
    )  # fmt: skip
