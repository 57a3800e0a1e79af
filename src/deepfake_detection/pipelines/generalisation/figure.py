"""The figure of `generalisation`: ROC AUC of each detector on its own set and elsewhere."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepfake_detection.reports.style import drawing, finished, message_figure
from deepfake_detection.reports.words import folded, shortened

_TITLE = "ROC AUC on the own set, and elsewhere"
# Okabe and Ito's palette, for detectors
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_CHANCE = 0.5
_WIDTH_OF_NAMES = 26


def draw_generalisation(generalisation_table: pd.DataFrame) -> Figure:
    """A row for each set, with a point and its interval for each detector, by image.

    The hollow mark is the detector's figure on its own set, where that is known; the dashed
    line is chance.
    """
    rows = generalisation_table.query("level == 'image' and metric == 'roc_auc'")
    known = rows[rows["value"].notna()]
    sets, detectors = list(rows["set"].unique()), list(rows["detector"].unique())
    with drawing():
        if known.empty:
            return message_figure("No set has a ROC AUC.", _TITLE)
        figure = Figure(figsize=(7.2, 1.7 + len(sets) * (0.28 + 0.24 * len(detectors))))
        axes = figure.add_subplot()
        axes.set_title(_TITLE)
        axes.axvline(_CHANCE, color=rcParams["axes.edgecolor"], linestyle="--", linewidth=1.2)
        step = 0.72 / len(detectors)
        for row in known.to_dict("records"):
            number = detectors.index(row["detector"])
            at = sets.index(row["set"]) + step * (number - (len(detectors) - 1) / 2)
            _draw(axes, row, at, _COLOURS[number % len(_COLOURS)])
        axes.set_yticks(range(len(sets)), [folded(name, _WIDTH_OF_NAMES, 2) for name in sets])
        axes.set_ylim(len(sets) - 0.5, -0.5)
        axes.set_xlim(min(0.4, float(known[["value", "low"]].min().min()) - 0.03), 1.01)
        axes.set_xlabel("ROC AUC by image, with its interval")
        axes.grid(visible=False, axis="y")
        for place in np.arange(1, len(sets)) - 0.5:
            axes.axhline(place, color=rcParams["grid.color"], linewidth=0.8, zorder=0)
        handles = _legend(detectors, own=bool(known["own_value"].notna().any()))
        figure.legend(handles=handles, loc="outside lower left", ncols=min(3, len(handles)))
        return finished(figure)


def _draw(axes: Axes, row: Mapping[Any, Any], at: float, colour: str) -> None:
    if not np.isnan(row["low"]):
        axes.hlines(at, row["low"], row["high"], color=colour, linewidth=2.4)
    axes.plot([row["value"]], [at], marker="o", color=colour, markersize=7)
    if not np.isnan(row["own_value"]):
        axes.plot(
            [row["own_value"]], [at], marker="D", color=colour, markersize=6,
            markerfacecolor=rcParams["figure.facecolor"],
        )  # fmt: skip


def _legend(detectors: list[str], *, own: bool) -> list[Line2D]:
    handles = [
        Line2D(
            [], [], marker="o", color=_COLOURS[number % len(_COLOURS)], linewidth=2.4,
            label=shortened(str(name), _WIDTH_OF_NAMES),
        )
        for number, name in enumerate(detectors)
    ]  # fmt: skip
    if own:
        ink = rcParams["axes.edgecolor"]
        handles.append(
            Line2D([], [], marker="D", color=ink, markerfacecolor=rcParams["figure.facecolor"],
                   linestyle="none", label="on its own set")
        )  # fmt: skip
    return handles
