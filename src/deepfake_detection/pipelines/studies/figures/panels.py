"""Small multiples: a panel for each thing that is compared, all on the same scales."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from deepfake_detection.pipelines.studies.figures.limits import (
    accuracy_limits,
    finite,
    mark_accuracies,
)
from deepfake_detection.reports.curves import number_epochs
from deepfake_detection.reports.words import folded

# Widths of a figure in inches, by its number of columns: about the same type size on the page.
WIDTHS = {1: 5.4, 2: 7.2, 3: 9.2, 4: 9.6}
_PANEL_HEIGHT = 1.75
_LINE_HEIGHT = 0.19
_MOST_CHARACTERS, _FEWEST_CHARACTERS = 66, 8
# Points of a figure's width that belong to no panel, and between two of them.
_BESIDE, _BETWEEN = 58, 8
_TITLE_LINES = 3
# Epochs of which none falls off the axis.
_FEW = 4
TITLE_SIZE = 10
_MEASURE = TextToPath()
SMALL = 8.5


def columns_for(panels: int) -> int:
    """How many panels stand side by side."""
    return panels if panels < 3 else 2 if panels == 4 else 3


def panel_grid(
    titles: list[str], lines_above: float = 1, columns: int = 0
) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel for each title, in as many rows as they need.

    Args:
        titles: As they come from outside.
        lines_above: Lines of small type that stand between a title and its panel.
        columns: How many panels stand side by side; 0 for as many as suit their number.
    """
    columns = columns or columns_for(len(titles))
    rows = -(-len(titles) // columns)
    points = (WIDTHS[columns] * 72 - _BESIDE) / columns - _BETWEEN
    shown = [_folded_to_fit(title, points) for title in titles]
    lines = max(title.count("\n") + 1 for title in shown) + lines_above
    height = rows * (_PANEL_HEIGHT + lines * _LINE_HEIGHT) + 0.8
    figure = Figure(figsize=(WIDTHS[columns], max(height, 3.4)))
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(titles) :]:
        axes.set_visible(False)
    panels = list(places[: len(titles)])
    for place, (axes, title) in enumerate(zip(panels, shown, strict=True)):
        axes.set_title(title, fontsize=TITLE_SIZE, pad=6 + lines_above * 12)
        axes.tick_params(labelleft=place % columns == 0, labelbottom=place + columns >= len(panels))
    return figure, panels


def _folded_to_fit(title: str, points: float) -> str:
    """The title in lines that are no wider than so many points."""
    font = FontProperties(weight=rcParams["axes.titleweight"], size=TITLE_SIZE)
    characters = _MOST_CHARACTERS
    while True:
        lines = folded(title, characters, _TITLE_LINES)
        widths = [
            _MEASURE.get_text_width_height_descent(line, font, ismath=False)[0]
            for line in lines.split("\n")
        ]
        if max(widths) <= points or characters <= _FEWEST_CHARACTERS:
            return lines
        characters = min(characters - 1, int(characters * points / max(widths)) + 1)


def say_above(axes: Axes, text: str) -> None:
    """A line of small type right above a panel, beneath its title."""
    said = axes.annotate(
        text, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points",
        fontsize=SMALL, color=rcParams["axes.labelcolor"], va="bottom",
    )  # fmt: skip
    # its height is the title's padding; its width must not narrow the panels
    said.set_in_layout(False)


def share_epochs(panels: Iterable[Axes], histories: Mapping[str, pd.DataFrame]) -> None:
    """The same epochs on the x axis of all panels."""
    epochs = finite(epoch for history in histories.values() for epoch in history["epoch"])
    first, last = (epochs.min(), epochs.max()) if len(epochs) else (1, 1)
    for axes in panels:
        number_epochs(axes, int(first), int(last))


def share_accuracies(
    panels: Iterable[Axes], histories: Mapping[str, pd.DataFrame], columns: tuple[str, ...]
) -> str:
    """The same accuracies on the y axis of all panels.

    The first epochs, which lie far below all others, may fall off it.

    Args:
        panels: All panels of the figure.
        histories: What is drawn in them.
        columns: Those of the histories that are drawn.

    Returns:
        What fell off, in words; empty where nothing did.
    """
    drawn = [history[column] for history in histories.values() for column in columns]
    values = finite(np.concatenate([*drawn, []]))
    later = [column[len(column) // 2 :] if len(column) > _FEW else column for column in drawn]
    bests = [column.max() for column in drawn if len(column)]
    limits = accuracy_limits(values, finite(np.concatenate([*later, bests])))
    for axes in panels:
        axes.set_ylim(*limits)
        mark_accuracies(axes.yaxis, limits)
    below = int((values < limits[0]).sum())
    return "First epochs that lie far below run off the panels." if below else ""


def has_values(histories: Mapping[str, pd.DataFrame], columns: Iterable[str]) -> bool:
    """Whether any epoch has a finite value in any of these columns."""
    return any(len(finite(history[column])) for history in histories.values() for column in columns)


def label_outside(figure: Figure, panels: Iterable[Axes], unit: str, note: str = "") -> None:
    """The unit beside all panels, the epochs beneath them, and a note at the foot."""
    look = {"fontsize": rcParams["axes.labelsize"], "color": rcParams["axes.labelcolor"]}
    heights = {axes.get_subplotspec().rowspan.start for axes in np.ravel(list(panels))}
    if len(heights) > 1:
        figure.supylabel(unit, **look)
    else:
        # beside a single row the middle of the figure is not the middle of its panels
        np.ravel(list(panels))[0].set_ylabel(unit.replace(" (share of images)", ""))
    figure.supxlabel(f"Epoch\n{note}" if note else "Epoch", **look)
