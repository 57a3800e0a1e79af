"""Figures over epochs: accuracy and loss of each row, and the rows compared."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from deepfake_detection.pipelines.studies.tables import BEST, StudyResults
from deepfake_detection.reports.curves import best_row, label_ends, number_epochs
from deepfake_detection.reports.style import COLOURS, colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import folded

_Content = TypeVar("_Content")
# Width of a figure in inches, and of a title in characters, by the number of columns
_WIDTH = 10
_CHARACTERS = {1: 70, 2: 38, 3: 27, 4: 21}
_TITLE_LINES = 3
# An axis of accuracies is at least this long, so that single images make no visible steps
_LEAST_SPAN = 0.02
# Low first epochs may make an axis so many times longer; those further below are cut off
_LONGEST = 2.5
_MARGIN = 0.05
# Histories up to this length are drawn in full
_FEW_EPOCHS = 4
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
    panels = [(title, _say_outcome(runs), runs) for _, title, runs in results.rows]
    # in a grid, rows with the same label of its first axis stand side by side
    beside = math.prod(len(labels) for labels in list(results.study.axes.values())[1:])

    def draw(axes: Axes, runs: pd.DataFrame) -> None:
        for run in runs["run"]:
            _draw_run(axes, results.histories[run], quantity, alone=len(runs) == 1)

    columns = [f"{subset}_{quantity}" for subset in _DASHES_OF]
    return _draw_panels(results, panels, draw, quantity, columns, beside if 2 <= beside <= 4 else 0)


def draw_comparisons(results: StudyResults) -> Figure:
    """Validation accuracy by epoch, the rows compared.

    A grid has a row of panels for each axis but the first and each choice of the others, with a
    panel for each label of the first axis and a line for each label of the compared one. Without a
    grid all rows stand in one panel, or, if they are many, each in a panel with the others pale.
    Lines are named at their ends, in the last of the panels that stand side by side.
    """
    columns, table = 0, results.table
    if len(results.study.axes) > 1:
        panels = list(_compare_in_grid(results))
        columns = min(len(next(iter(results.study.axes.values()))), 4)
    elif len(results.rows) <= _MOST_LINES:
        panels = [("", "", {title: runs for _, title, runs in results.rows})]
    else:
        panels = [
            (title, "", {_OTHERS: table[table["row"] != row], "this row": runs})
            for row, title, runs in results.rows
        ]
    labels = list(dict.fromkeys(label for *_, lines in panels for label in lines))

    def draw(axes: Axes, lines: dict[str, pd.DataFrame]) -> None:
        for label, runs in lines.items():
            histories = [results.histories[run] for run in runs["run"]]
            _add_lines(axes, histories, _look(labels.index(label), label))

    note = "Thin lines are single runs, thick ones their mean." if results.is_repeated else ""
    named = _OTHERS not in labels
    return _draw_panels(
        results, panels, draw, "validation accuracy", [_VALIDATED], columns, note, named=named
    )


def _draw_panels(
    results: StudyResults,
    panels: Sequence[tuple[str, str, _Content]],
    draw: Callable[[Axes, _Content], None],
    quantity: str,
    columns: Sequence[str],
    beside: int,
    note: str = "",
    *,
    named: bool = False,
) -> Figure:
    """A figure over epochs from each panel's title, line beneath it, and what `draw` puts there.

    `columns` of the histories are drawn. Lines are `named` at their ends, or else in a legend.
    """
    histories = list(results.histories.values())
    drawn = [history[column] for history in histories for column in columns]
    with drawing():
        if not len(values := finite(*drawn)):
            return message_figure(f"No epoch has a value of {quantity}.", quantity.capitalize())
        titles, lines, contents = zip(*panels, strict=True)
        figure, grid, across = _panel_grid(titles, lines, beside)
        epochs = finite(*(history["epoch"] for history in histories))
        for axes, content in zip(grid, contents, strict=True):
            draw(axes, content)
            number_epochs(axes, int(epochs.min()), int(epochs.max()))
        if quantity == "loss":
            unit, scaled = "Cross-entropy (nats)", _scale_losses(grid[0], values)
        else:
            unit = f"{quantity.capitalize()} (share of images)"
            scaled = _scale_by_epoch(grid[0], drawn)
        look = {"fontsize": rcParams["axes.labelsize"], "color": rcParams["axes.labelcolor"]}
        figure.supylabel(unit, **look)
        figure.supxlabel("\n".join(filter(None, ["Epoch", note, scaled])), **look)
        if named:
            for axes in dict.fromkeys([*grid[across - 1 :: across], grid[-1]]):
                label_ends(figure, axes)
        else:
            add_legend(figure, grid)
        return finished(figure)


def _panel_grid(
    titles: Sequence[str], lines: Sequence[str], columns: int
) -> tuple[Figure, list[Axes], int]:
    """A panel for each title, with a line beneath, and how many stand side by side.

    That is `columns`, at most 4; 0 chooses their number.
    """
    columns = columns or (len(titles) if len(titles) < 3 else 2 if len(titles) == 4 else 3)
    rows = -(-len(titles) // columns)
    shown = [folded(title, _CHARACTERS[columns], _TITLE_LINES) for title in titles]
    height = rows * (1.95 + 0.19 * max(title.count("\n") + 1 for title in shown)) + 0.8
    figure = Figure(figsize=(_WIDTH, max(height, 3.4)))
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
    return figure, panels, columns


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
            label="epoch that was kept",
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


def _scale_by_epoch(axes: Axes, drawn: list[pd.Series]) -> str:
    """Scale the y axis for accuracies by epoch; returns a note if some are cut off."""
    late = [each[len(each) // 2 :] if len(each) > _FEW_EPOCHS else each for each in drawn]
    best = [each.max() for each in drawn]
    cut = scale_accuracies(axes, finite(*drawn), finite(*late, best))
    return "First epochs far below the others are cut off." if cut else ""


def _compare_in_grid(results: StudyResults) -> Iterator[tuple[str, str, dict[str, pd.DataFrame]]]:
    """The title of each panel, no line beneath it, and the runs of each of its lines."""
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
            yield ", ".join(reversed(words)), "", lines


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
        "label": label,
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


def finite(*columns: Iterable[float]) -> np.ndarray:
    """The finite values of all columns."""
    numbers = np.concatenate([np.asarray(list(column), dtype=float) for column in (*columns, [])])
    return numbers[np.isfinite(numbers)]


def scale_accuracies(
    axes: Axes, values: np.ndarray, needed: np.ndarray | None = None, axis: Literal["x", "y"] = "y"
) -> bool:
    """Scale an axis for accuracies; True if it cuts off some, which only those not `needed` are."""
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
