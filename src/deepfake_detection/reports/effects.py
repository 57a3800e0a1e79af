"""What sets false cases apart from right ones: effects with their intervals, as a forest plot."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepfake_detection.reports.style import (
    Theme,
    colour_of,
    drawing,
    finished,
    message_figure,
)
from deepfake_detection.reports.words import counted

_TITLE = "What sets false cases apart"
_AGAINST = {"false negative": "found", "false positive": "passed"}
_REGIONS = {"picture": "whole picture"}
_NO_DIFFERENCE = 0.5
# Kinds beside each other in one row, in rows
_APART = 0.16


def draw_effects(table: pd.DataFrame, theme: Theme = "light") -> Figure:
    """A line for each region and measure; on it a point with its interval for each kind.

    The thick part is the interval of one comparison, the thin one that corrected for all of them;
    the point is filled where that leaves out 0.5.

    Args:
        table: kind, region, measure, effect, low, high, corrected_low, corrected_high, differs,
            n_false, n_right.
        theme: For a light or a dark background.
    """
    with drawing(theme):
        if table.empty:
            return message_figure("No picture could be measured.", _TITLE)
        if (table["differs"] == "too few").all():
            return message_figure(f"Too few false cases to compare:\n{_counts(table)}", _TITLE)
        names = table[["region", "measure"]].drop_duplicates()
        places = {name: at for at, name in enumerate(names.itertuples(index=False, name=None))}
        figure = Figure(figsize=(5.2, 2.1 + 0.36 * len(places)))
        axes = figure.add_subplot()
        axes.set_title(_TITLE)
        axes.axvline(_NO_DIFFERENCE, color=rcParams["axes.edgecolor"], linewidth=1.2, zorder=1)
        for _, row in table[table["differs"] != "too few"].iterrows():
            _add_effect(axes, places[row["region"], row["measure"]], row)
        _label(axes, list(places))
        by_kind = table.groupby("kind", sort=False)
        handles = [_handle(str(kind), rows.iloc[0]) for kind, rows in by_kind]
        figure.legend(handles=handles, loc="outside lower left", ncols=1)
        return finished(figure)


def _add_effect(axes: Axes, place: int, row: pd.Series) -> None:
    at = place + (_APART if row["kind"] == "false positive" else -_APART)
    colour = colour_of(row["kind"])
    for ends, width in ((("corrected_low", "corrected_high"), 1.2), (("low", "high"), 3.2)):
        axes.plot([row[end] for end in ends], [at, at], color=colour, linewidth=width, zorder=2)
    axes.plot(
        [row["effect"]], [at], marker="o", markersize=7, color=colour, zorder=3,
        markerfacecolor=colour if row["differs"] == "yes" else rcParams["figure.facecolor"],
    )  # fmt: skip


def _label(axes: Axes, names: list[tuple[str, str]]) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 5), ["always less", "0.25", "as much", "0.75", "always more"])
    axes.set_xlabel("Probability that a false case has more of it\nthan a right one of its class")
    axes.set_ylim(len(names) - 0.5, -0.5)
    labels = [f"{measure}, {_REGIONS.get(region, region)}" for region, measure in names]
    axes.set_yticks(range(len(names)), labels)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    for place in range(1, len(names)):
        if names[place][0] != names[place - 1][0]:
            axes.axhline(place - 0.5, color=rcParams["grid.color"], linewidth=0.8, zorder=0)


def _handle(kind: str, row: pd.Series) -> Line2D:
    few = row["differs"] == "too few"
    return Line2D(
        [], [], marker="o", markersize=7, linewidth=3.2, color=colour_of(kind),
        linestyle="none" if few else "-", label=_count(kind, row) + (": too few" if few else ""),
    )  # fmt: skip


def _count(kind: str, row: pd.Series) -> str:
    return f"{counted(row['n_false'], kind)} against {row['n_right']:,} {_AGAINST[kind]}"


def _counts(table: pd.DataFrame) -> str:
    return "\n".join(
        _count(str(kind), rows.iloc[0]) for kind, rows in table.groupby("kind", sort=False)
    )
