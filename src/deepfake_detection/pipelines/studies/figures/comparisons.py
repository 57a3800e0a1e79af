"""Rows beside each other: validation accuracy by epoch, one line for each thing compared."""

from itertools import product

import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepfake_detection.pipelines.studies.figures.looks import Look, look_of
from deepfake_detection.pipelines.studies.figures.panels import (
    TITLE_SIZE,
    WIDTHS,
    has_values,
    label_outside,
    panel_grid,
    say_above,
    share_accuracies,
    share_epochs,
)
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.reports.style import (
    Theme,
    colour_of,
    drawing,
    finished,
    message_figure,
)
from deepfake_detection.reports.words import folded

_COLUMN = "validation_accuracy"
_UNIT = "Validation accuracy (share of images)"
# More lines than this in one panel cannot be followed.
_MOST_LINES = 6
# Heading and legend of a row of panels, above its first one, in points.
_ABOVE_ROW = 34
_ROW_HEIGHT = 2.55


def draw_comparisons(results: StudyResults, theme: Theme = "light") -> Figure:
    """Validation accuracy by epoch, compared.

    Of a grid, there is a row of panels for each axis but the first and each choice of the others,
    with a panel for each label of the first axis and a line for each label of the compared one.
    Without a grid all rows stand in one panel; where they are too many to be told apart, each has
    a panel in which the others are pale.

    Args:
        results: Of the study.
        theme: For a light or a dark background.
    """
    with drawing(theme):
        if not has_values(results.histories, [_COLUMN]):
            return message_figure("No epoch has a validation accuracy.", "Validation accuracy")
        if len(results.axes) > 1:
            figure = _draw_grid(results)
        elif len(results.rows()) <= _MOST_LINES:
            figure = _draw_together(results)
        else:
            figure = _draw_each_among_others(results)
        return finished(figure)


def compared_in(results: StudyResults) -> list[tuple[str, dict[str, str]]]:
    """The comparisons of a grid: the compared axis, and the labels that are fixed beside it."""
    _, *others = results.axes
    found = []
    for compared in others:
        fixed = [axis for axis in others if axis != compared]
        found += [
            (compared, dict(zip(fixed, labels, strict=True)))
            for labels in product(*(results.axes[axis] for axis in fixed))
        ]
    return found


def label_in_words(results: StudyResults, axis: str, label: str) -> str:
    """An axis's label as it is read: `80` of the ratios is `80 : 20`."""
    if axis == "method":
        return f"{label} split"
    if axis == "ratio":
        told = results.table.loc[results.table[f"axis.{axis}"] == label, "split_ratios"].unique()
        return str(told[0]) if len(told) == 1 else label
    return label


def _draw_grid(results: StudyResults) -> Figure:
    comparisons = compared_in(results)
    first = next(iter(results.axes))
    labels = results.axes[first]
    width = WIDTHS.get(len(labels), max(WIDTHS.values()) * len(labels) / 3)
    figure = Figure(figsize=(width, _ROW_HEIGHT * len(comparisons) + 0.6))
    grid = figure.subplots(len(comparisons), len(labels), squeeze=False)
    cut = []
    for place, (compared, fixed) in enumerate(comparisons):
        row = grid[place]
        for axes, label in zip(row, labels, strict=True):
            runs = _select(results.table, {first: label, **fixed})
            for each in results.axes[compared]:
                look = look_of(each, results.axes[compared])
                said = label_in_words(results, compared, each)
                _add_lines(axes, results, _select(runs, {compared: each}), look, said)
            say_above(axes, folded(label_in_words(results, first, label), 36, 1))
            axes.tick_params(labelleft=axes is row[0], labelbottom=place + 1 == len(grid))
        beside = [label_in_words(results, axis, label) for axis, label in fixed.items()]
        _head_row(row[0], ", ".join([f"By {compared}", *beside]))
        shown = _select(results.table, fixed)["run"]
        cut += [share_accuracies(row, {run: results.histories[run] for run in shown}, (_COLUMN,))]
    share_epochs(grid.ravel(), results.histories)
    label_outside(figure, grid, _UNIT, _note(results, next(filter(None, cut), "")))
    return figure


def _head_row(axes: Axes, heading: str) -> None:
    axes.set_title(folded(heading, 60, 1), fontsize=TITLE_SIZE + 0.5, pad=_ABOVE_ROW)
    legend = axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, borderaxespad=1.7, ncols=4,
        handlelength=2.6, columnspacing=1.4,
    )  # fmt: skip
    # it may be wider than its panel, and has the space above the others to itself
    legend.set_in_layout(False)


def _draw_together(results: StudyResults) -> Figure:
    rows = results.rows()
    names = [row for row, _ in rows]
    figure = Figure(figsize=(7.2, 3.4 + 0.24 * len(rows)))
    axes = figure.add_subplot()
    for row, runs in rows:
        title = folded(str(runs["title"].iloc[0]), 80, 1)
        _add_lines(axes, results, runs, look_of(row, names), title)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", handlelength=2.8)
    _share([axes], figure, results)
    return figure


def _draw_each_among_others(results: StudyResults) -> Figure:
    rows = results.rows()
    figure, panels = panel_grid([str(runs["title"].iloc[0]) for _, runs in rows], lines_above=0)
    for axes, (row, runs) in zip(panels, rows, strict=True):
        others = results.table["row"] != row
        pale = [results.histories[run] for run in results.table["run"][others]]
        _add_thin(axes, pale, rcParams["axes.edgecolor"], "all other rows")
        _add_lines(axes, results, runs, Look(colour_of("validation"), "-", ""), "this row")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    _share(panels, figure, results)
    return figure


def _share(panels: list[Axes], figure: Figure, results: StudyResults) -> None:
    share_epochs(panels, results.histories)
    cut = share_accuracies(panels, results.histories, (_COLUMN,))
    label_outside(figure, panels, _UNIT, _note(results, cut))


def _note(results: StudyResults, cut: str) -> str:
    repeated = "Thin lines are single runs, thick ones their mean." if results.is_repeated() else ""
    return " ".join(filter(None, (repeated, cut)))


def _add_lines(
    axes: Axes, results: StudyResults, runs: pd.DataFrame, look: Look, label: str
) -> None:
    """The mean of the runs, with the label; where there are several, each as a thin line too."""
    histories = [results.histories[run] for run in runs["run"]]
    if not histories:
        return
    if len(histories) > 1:
        _add_thin(axes, histories, look.colour, "")
    mean = pd.concat(histories).groupby("epoch")[_COLUMN].mean()
    axes.plot(
        mean.index,
        mean,
        color=look.colour,
        linestyle=look.dashes,
        linewidth=1.6,
        marker=look.marker or ("." if len(mean) == 1 else None),
        markersize=3.2,
        label=label,
        zorder=3,
    )


def _add_thin(axes: Axes, histories: list[pd.DataFrame], colour: str, label: str) -> None:
    for place, history in enumerate(histories):
        axes.plot(
            history["epoch"],
            history[_COLUMN],
            color=colour,
            linewidth=0.7,
            alpha=0.5,
            marker="." if len(history) == 1 else None,
            markersize=2,
            label=label if label and not place else "_",
        )


def _select(table: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    chosen = pd.Series(data=True, index=table.index)
    for axis, label in labels.items():
        chosen &= table[f"axis.{axis}"].astype(str) == label
    return table[chosen]
