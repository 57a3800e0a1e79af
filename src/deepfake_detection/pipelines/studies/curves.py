"""Figures over epochs: accuracy and loss of each row, and the rows compared."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from deepfake_detection.pipelines.studies.panels import (
    finite,
    label_panels,
    panel_grid,
    scale_by_epoch,
)
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.pipelines.studies.tables import BEST
from deepfake_detection.reports.curves import best_row
from deepfake_detection.reports.style import COLOURS, colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import folded

_DASHES_OF: dict[str, Any] = {"train": (0, (4, 1.5)), "validation": "-"}
# Losses that spread over more than this factor are drawn on a logarithmic axis
_WIDE = 10
# More rows than this in one panel cannot be told apart
_MOST_LINES = 6
# From Tol's muted palette and ColorBrewer's Dark2; none of them is the colour of a subset
_COLOURS = ("#7570B3", "#A6611A", "#44AA99", "#CC6677", "#AA4499", "#999933")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_MARKERS = "os^DvP"
_VALIDATED = "validation_accuracy"
_OTHERS = "all other rows"


def draw_curves(results: StudyResults, quantity: str) -> Figure:
    """The `accuracy` or `loss` of train and validation by epoch, a panel for each row."""
    columns = [f"{subset}_{quantity}" for subset in _DASHES_OF]
    drawn = [history[column] for history in results.histories.values() for column in columns]
    with drawing():
        if not len(values := finite(*drawn)):
            return message_figure(f"No epoch has a value of {quantity}.", quantity.capitalize())
        titles = [title for _, title, _ in results.rows]
        outcomes = [_say_outcome(runs) for _, _, runs in results.rows]
        # in a grid, rows with the same label of its first axis stand side by side
        beside = math.prod(len(labels) for labels in list(results.study.axes.values())[1:])
        figure, panels = panel_grid(titles, outcomes, beside if 2 <= beside <= 4 else 0)
        for axes, (_, _, runs) in zip(panels, results.rows, strict=True):
            for run in runs["run"]:
                _draw_run(axes, results.histories[run], quantity, alone=len(runs) == 1)
        if quantity == "accuracy":
            unit = "Accuracy (share of images)"
            note = scale_by_epoch(panels[0], results.histories, columns)
        else:
            unit, note = "Cross-entropy (nats)", _scale_losses(panels[0], values)
        label_panels(figure, panels, results.histories, unit, [note])
        return finished(figure)


def _draw_run(axes: Axes, history: pd.DataFrame, quantity: str, *, alone: bool) -> None:
    for subset, dashes in _DASHES_OF.items():
        axes.plot(
            history["epoch"], history[f"{subset}_{quantity}"], color=colour_of(subset),
            linestyle=dashes, linewidth=1.6 if alone else 0.9, label=subset,
            # a single epoch has no line
            marker="." if len(history) == 1 else None,
        )  # fmt: skip
    best = best_row(history)
    if best is not None:
        axes.plot(
            [best["epoch"]], [best[f"validation_{quantity}"]], linestyle="none", marker="o",
            markersize=8 if alone else 5.5, markerfacecolor="none",
            markeredgecolor=rcParams["text.color"], markeredgewidth=1.2, zorder=4,
            label="best epoch by validation accuracy",
        )  # fmt: skip


def _say_outcome(runs: pd.DataFrame) -> str:
    best, verdict = runs[BEST].mean(), runs["verdict"].iloc[0]
    at = f", mean of {len(runs)}" if len(runs) > 1 else f", epoch {runs['best_epoch'].iloc[0]:.0f}"
    reached = "no accuracy" if math.isnan(best) else f"best {best:.4f}{at}"
    return " · ".join(filter(None, (reached, verdict)))


def _scale_losses(axes: Axes, values: np.ndarray) -> str:
    low, high = values.min(), values.max()
    if low <= 0 or high / low <= _WIDE:
        axes.set_ylim(bottom=0)
        return ""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    return "The loss is on a logarithmic scale."


def draw_comparisons(results: StudyResults) -> Figure:
    """Validation accuracy by epoch, the rows compared.

    A grid has a row of panels for each axis but the first and each choice of the others, with a
    panel for each label of the first axis and a line for each label of the compared one. Without a
    grid all rows stand in one panel, or, if they are many, each in a panel with the others pale.
    """
    with drawing():
        if not len(finite(*(history[_VALIDATED] for history in results.histories.values()))):
            return message_figure("No epoch has a validation accuracy.", "Validation accuracy")
        columns = 0
        if len(results.study.axes) > 1:
            panels = list(_compare_in_grid(results))
            columns = min(len(next(iter(results.study.axes.values()))), 4)
        elif len(results.rows) <= _MOST_LINES:
            panels = [("", {title: runs for _, title, runs in results.rows})]
        else:
            table = results.table
            panels = [
                (title, {_OTHERS: table[table["row"] != row], "this row": runs})
                for row, title, runs in results.rows
            ]
        figure, grid = panel_grid([title for title, _ in panels], [""] * len(panels), columns)
        labels = list(dict.fromkeys(label for _, lines in panels for label in lines))
        for axes, (_, lines) in zip(grid, panels, strict=True):
            for label, runs in lines.items():
                histories = [results.histories[run] for run in runs["run"]]
                _add_lines(axes, histories, _look(labels.index(label), label))
        if len(panels) == 1:
            figure.set_figheight(figure.get_figheight() + 0.24 * len(labels))
        note = scale_by_epoch(grid[0], results.histories, [_VALIDATED])
        repeated = "Thin lines are single runs, thick ones their mean."
        notes = [repeated if results.is_repeated else "", note]
        unit = "Validation accuracy (share of images)"
        label_panels(figure, grid, results.histories, unit, notes)
        return finished(figure)


def _compare_in_grid(results: StudyResults) -> Iterator[tuple[str, dict[str, pd.DataFrame]]]:
    """The title of each panel, and the runs of each of its lines."""
    axes, table = results.study.axes, results.table
    first, *others = axes
    for compared in others:
        fixed = [axis for axis in others if axis != compared]
        for labels in product(*(axes[axis] for axis in fixed), axes[first]):
            place = dict(zip([*fixed, first], labels, strict=True))
            there = [table[f"axis.{axis}"] == each for axis, each in place.items()]
            runs = table[np.logical_and.reduce(there)]
            words = [label_in_words(axis, each) for axis, each in place.items()]
            lines = {
                label_in_words(compared, each): runs[runs[f"axis.{compared}"] == each]
                for each in axes[compared]
            }
            yield ", ".join(reversed(words)), lines


def label_in_words(axis: str, label: str) -> str:
    """An axis's label for a reader: `group` of the axis `method` is `group split`."""
    return f"{label} split" if axis == "method" else label


def _look(place: int, label: str) -> dict[str, Any]:
    """How a line is drawn: colour, dashes and marker all differ from those of its neighbours."""
    if label == _OTHERS:
        return {"color": rcParams["axes.edgecolor"], "label": label}
    if label == "this row":
        return {"color": colour_of("validation"), "label": label}
    return {
        "color": COLOURS.get(label.removesuffix(" split"), _COLOURS[place % len(_COLOURS)]),
        "linestyle": _DASHES[place % len(_DASHES)],
        "marker": _MARKERS[place % len(_MARKERS)],
        "label": folded(label, 80, 1),
    }


def _add_lines(axes: Axes, histories: list[pd.DataFrame], look: dict[str, Any]) -> None:
    """The mean of several runs, and each of them as a thin line; of other rows only these."""
    pale = look["label"] == _OTHERS
    if pale or len(histories) > 1:
        thin = {"color": look["color"], "linewidth": 0.7, "alpha": 0.5}
        for history in histories:
            axes.plot(history["epoch"], history[_VALIDATED], **thin, label=_OTHERS if pale else "_")
    if histories and not pale:
        mean = pd.concat(histories).groupby("epoch")[_VALIDATED].mean()
        single = {"marker": "."} if len(mean) == 1 else {}
        thick = {"linewidth": 1.6, "markersize": 3.2, "zorder": 3}
        axes.plot(mean.index, mean, **single | thick | look)
