"""The figure of `paired_comparison`: differences between detectors, as a forest plot."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import counted, folded, shortened

_TITLE = "Differences between detectors"
# By metric: its name, and the distance from the middle of a row, in rows
_METRICS = {"roc_auc": ("ROC AUC", 0.0), "accuracy": ("accuracy", 0.24)}
_NAME_LENGTH, _NOTE_CHARACTERS, _NOTE_LINES = 32, 80, 6
_ABOVE = -0.28
_LEAST_SPAN = 0.02


def draw_pairs(paired_differences: pd.DataFrame, confidence: float, note: str | None) -> Figure:
    """ROC AUC and accuracy of each pair of detectors, by image: differences with intervals.

    Of test, or validation where there is no test. A point is filled, and its pair in bold, where
    the p-value, corrected for all pairs, is below 1 − confidence. The note stands beneath.
    """
    subset = "test" if "test" in set(paired_differences["subset"]) else "validation"
    table = paired_differences[
        (paired_differences["subset"] == subset)
        & (paired_differences["level"] == "image")
        & paired_differences["metric"].isin(_METRICS)
        & paired_differences["difference"].notna()
    ]
    with drawing():
        if table.empty:
            return message_figure("No difference could be measured.", _TITLE)
        names = zip(table["detector"], table["other_detector"], strict=True)
        pairs = list(dict.fromkeys(names))
        figure = Figure(figsize=(5.6, 2.9 + 0.66 * len(pairs)))
        axes = figure.add_subplot()
        axes.set_title(_TITLE)
        axes.axvline(0, color=rcParams["text.color"], linewidth=1, zorder=1)
        apart = table["p_holm"] < 1 - confidence
        for (_, row), told in zip(table.iterrows(), apart, strict=True):
            _add_difference(axes, pairs.index((row["detector"], row["other_detector"])), row, told)
        of_pair = apart.groupby([table["detector"], table["other_detector"]]).any()
        for at, (name, other) in enumerate(pairs):
            _name_pair(axes, at, f"{_short(name)} minus {_short(other)}", of_pair[name, other])
        _set_axes(axes, table, len(pairs))
        handles = _legend(table, confidence, len(pairs))
        figure.legend(handles=handles, loc="outside upper left", ncols=2)
        _add_note(figure, table, subset, note)
        return finished(figure)


def _short(name: object) -> str:
    return shortened(str(name), _NAME_LENGTH)


def _add_difference(axes: Axes, place: int, row: pd.Series, told: bool) -> None:
    name, aside = _METRICS[row["metric"]]
    at, colour = place + aside, colour_of(name)
    # without an interval it is NaN, and nothing is drawn
    axes.hlines(at, row["low"], row["high"], color=colour, linewidth=2.2)
    axes.plot(
        [row["difference"]], [at], marker="o", markersize=7, color=colour, zorder=3,
        markerfacecolor=colour if told else rcParams["figure.facecolor"],
    )  # fmt: skip


def _name_pair(axes: Axes, place: int, text: str, told: bool) -> None:
    axes.text(
        0, place + _ABOVE, text, transform=axes.get_yaxis_transform(), va="center", fontsize=9,
        weight="bold" if told else "normal", zorder=2,
        bbox={"facecolor": rcParams["figure.facecolor"], "edgecolor": "none", "pad": 0.5},
    )  # fmt: skip


def _set_axes(axes: Axes, table: pd.DataFrame, pairs: int) -> None:
    ends = table[["difference", "low", "high"]].to_numpy(np.float64).ravel()
    low, high = np.nanmin([*ends, -_LEAST_SPAN]), np.nanmax([*ends, _LEAST_SPAN])
    margin = 0.05 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter(FuncFormatter(_say_change))
    axes.set_xlabel("Difference of the metric, in [−1, 1]")
    axes.set_ylim(pairs - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")


def _say_change(value: float, _: int) -> str:
    return f"{value:+.3g}".replace("-", "−") if value else "0"


def _legend(table: pd.DataFrame, confidence: float, pairs: int) -> list[Line2D]:
    drawn = [
        Line2D([], [], linewidth=2.2, marker="o", markersize=7, color=colour_of(name), label=name)
        for metric, (name, _) in _METRICS.items()
        if (table["metric"] == metric).any()
    ]
    corrected = f", corrected for {counted(pairs, 'pair')}" if pairs > 1 else ""
    colour = rcParams["axes.labelcolor"]
    style = {"marker": "o", "markersize": 7, "linestyle": "none", "color": colour}
    filled = Line2D([], [], label=f"differs ({100 * confidence:g} %{corrected})", **style)
    empty = Line2D(
        [], [], label="no difference shown", markerfacecolor=rcParams["figure.facecolor"], **style
    )
    return [*drawn, filled, empty]


def _add_note(figure: Figure, table: pd.DataFrame, subset: str, note: str | None) -> None:
    images = counted(int(table["n"].max()), "image")
    lines = [f"{images} of {subset}, paired; bars are intervals between groups."]
    said = table["note"].dropna().drop_duplicates().tolist()
    lines += [f"{each[:1].upper()}{each[1:]}." for each in said[:1]]
    if len(said) > 1:
        lines.append("Pairs have further notes, in paired_differences.")
    lines += [note] if note else []
    figure.supxlabel(
        "\n".join(folded(line, _NOTE_CHARACTERS, _NOTE_LINES) for line in lines),
        fontsize=8.5, color=rcParams["axes.labelcolor"], x=0.01, ha="left", multialignment="left",
    )  # fmt: skip
