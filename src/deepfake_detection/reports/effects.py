"""What the errors have in common: effects with their intervals, as a forest plot."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import counted

_TITLE = "What the errors have in common"
_AGAINST = {"false negative": "detected", "false positive": "accepted"}
_NO_DIFFERENCE = 0.5
# Distance of the kinds from the middle of a row, in rows
_APART = {"false negative": -0.16, "false positive": 0.16}


def draw_effects(table: pd.DataFrame) -> Figure:
    """A row for each region and measure, with a point and its interval for each kind of error.

    The thick line is the interval of one comparison, the thin one that corrected for all of them;
    the point is filled where the latter excludes 0.5. The table is that of `compare_false_cases`.
    """
    compared = table[table["differs"] != "too few"]
    with drawing():
        if table.empty:
            return message_figure("No picture could be measured.", _TITLE)
        if compared.empty:
            counts = "\n".join(str(line.get_label()) for line in _legend(table))
            return message_figure(f"Too few errors to compare:\n{counts}", _TITLE)
        pairs = zip(table["region"].astype(str), table["measure"].astype(str), strict=True)
        names = list(dict.fromkeys(pairs))
        figure = Figure(figsize=(5.2, 2.1 + 0.36 * len(names)))
        axes = figure.add_subplot()
        axes.set_title(_TITLE)
        axes.axvline(_NO_DIFFERENCE, color=rcParams["axes.edgecolor"], linewidth=1.2, zorder=1)
        for _, row in compared.iterrows():
            _add_effect(axes, names.index((row["region"], row["measure"])), row)
        _label(axes, names)
        figure.legend(handles=_legend(table), loc="outside lower left", ncols=1)
        return finished(figure)


def _add_effect(axes: Axes, place: int, row: pd.Series) -> None:
    at, colour = place + _APART[row["kind"]], colour_of(row["kind"])
    axes.hlines(at, row["corrected_low"], row["corrected_high"], color=colour, linewidth=1.2)
    axes.hlines(at, row["low"], row["high"], color=colour, linewidth=3.2)
    axes.plot(
        [row["effect"]], [at], marker="o", markersize=7, color=colour, zorder=3,
        markerfacecolor=colour if row["differs"] == "yes" else rcParams["figure.facecolor"],
    )  # fmt: skip


def _label(axes: Axes, names: list[tuple[str, str]]) -> None:
    axes.set_xlim(0, 1)
    axes.set_xticks(np.linspace(0, 1, 5), ["always less", "0.25", "as much", "0.75", "always more"])
    axes.set_xlabel("Probability that an error has more of it\nthan a right verdict of its class")
    axes.set_ylim(len(names) - 0.5, -0.5)
    labels = [f"{measure}, {region}" for region, measure in names]
    axes.set_yticks(range(len(names)), labels)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")
    for place in range(1, len(names)):
        if names[place][0] != names[place - 1][0]:
            axes.axhline(place - 0.5, color=rcParams["grid.color"], linewidth=0.8, zorder=0)


def _legend(table: pd.DataFrame) -> list[Line2D]:
    handles = []
    for _, row in table.drop_duplicates("kind").iterrows():
        kind = str(row["kind"])
        count = f"{counted(row['n_false'], kind)} against {row['n_right']:,} {_AGAINST[kind]}"
        few = row["differs"] == "too few"
        handles.append(
            Line2D(
                [], [], marker="o", markersize=7, linewidth=3.2, color=colour_of(kind),
                linestyle="none" if few else "-", label=f"{count}{': too few' if few else ''}",
            )
        )  # fmt: skip
    return handles
