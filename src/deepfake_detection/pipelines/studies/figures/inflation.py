"""How much an individual split flatters: the same recipe under both ways to split."""

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deepfake_detection.pipelines.studies.figures.limits import (
    accuracy_limits,
    finite,
    mark_accuracies,
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

_MARKERS = {"group": "o", "individual": "D"}


def draw_inflation(results: StudyResults, theme: Theme = "light") -> Figure:
    """A line for each pair: its score with a group split and with an individual one, joined.

    There is a panel for each metric and subset; the inflation stands above the line.

    Args:
        results: Of the study.
        theme: For a light or a dark background.
    """
    with drawing(theme):
        if results.inflation.empty:
            return message_figure(
                "No two rows differ in the split method alone.", "Inflation of an individual split"
            )
        titles = list(dict.fromkeys(results.inflation["title"]))
        parts = list(results.inflation.groupby(["metric", "subset"], sort=False))
        figure = Figure(figsize=(1.9 + 2.9 * len(parts), 1.5 + 0.5 * len(titles)))
        panels = figure.subplots(1, len(parts), squeeze=False)[0]
        for axes, ((metric, subset), pairs) in zip(panels, parts, strict=True):
            _draw_panel(axes, pairs.set_index("title"), titles)
            said = str(metric) if str(subset) in str(metric) else f"{metric}, {subset}"
            axes.set_xlabel(said[:1].upper() + said[1:])
        panels[0].set_yticks(range(len(titles)), [folded(title, 30, 2) for title in titles])
        figure.legend(handles=_legend(), loc="outside upper left", ncols=2)
        return finished(figure)


def _draw_panel(axes: Axes, pairs: pd.DataFrame, titles: list[str]) -> None:
    for title, pair in pairs.iterrows():
        _draw_pair(axes, titles.index(str(title)), pair)
    values = finite(np.concatenate([pairs["group"], pairs["individual"]]))
    limits = accuracy_limits(values, values)
    axes.set_xlim(*limits)
    mark_accuracies(axes.xaxis, limits, most=5)
    axes.set_ylim(len(titles) - 0.5, -0.7)
    axes.set_yticks(range(len(titles)), [""] * len(titles))
    axes.spines["left"].set_visible(False)


def _draw_pair(axes: Axes, place: int, pair: pd.Series) -> None:
    ends = [pair["group"], pair["individual"]]
    axes.plot(ends, [place, place], color=rcParams["axes.edgecolor"], linewidth=2, zorder=2)
    for method, marker in _MARKERS.items():
        axes.plot(
            [pair[method]], [place], marker=marker, markersize=8, linestyle="none",
            color=colour_of(method), zorder=3,
        )  # fmt: skip
    if np.isfinite(pair["inflation"]):
        spread = pair["standard_deviation"]
        told = f"{pair['inflation']:+.3f}" + (f" ± {spread:.3f}" if np.isfinite(spread) else "")
        axes.annotate(
            told.replace("-", "−"), (float(np.mean(ends)), place), (0, 5),
            textcoords="offset points", ha="center", va="bottom", fontsize=9,
        )  # fmt: skip


def _legend() -> list[Line2D]:
    return [
        Line2D(
            [], [], linestyle="none", marker=marker, markersize=8, color=colour_of(method),
            label=f"{method} split",
        )
        for method, marker in _MARKERS.items()
    ]  # fmt: skip
