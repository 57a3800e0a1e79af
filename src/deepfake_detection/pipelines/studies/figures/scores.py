"""How well each row did: a line for each, best validation accuracy and test score as dots."""

from typing import Any

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
from deepfake_detection.pipelines.studies.results import StudyResults, pooled_accuracy
from deepfake_detection.reports.style import (
    Theme,
    colour_of,
    drawing,
    finished,
    message_figure,
)
from deepfake_detection.reports.words import folded

_WIDTH = 7.6
_TITLE_WIDTH, _TITLE_LINES = 34, 2
_MARKERS = {"validation": "o", "test": "s"}
# Two dots of a row stand this far above and beneath its line.
_APART = 0.17
_INTERVAL = ("accuracy_low", "accuracy_high")


def draw_scores(results: StudyResults, theme: Theme = "light") -> Figure:
    """A line for each row: best validation accuracy, and the test score where there is one.

    A bar is a 95 % interval between groups, a hollow mark the reference's published figure, the
    dashed line the accuracy above which a run counts as overfit. Of several runs each is a small
    dot and their mean a large one.

    Args:
        results: Of the study.
        theme: For a light or a dark background.
    """
    rows = results.rows()
    with drawing(theme):
        if not len(finite(results.table["best_validation_accuracy"])):
            return message_figure("No run has a validation accuracy.", "Scores")
        figure = Figure(figsize=(_WIDTH, 1.5 + 0.46 * len(rows)))
        axes = figure.add_subplot()
        for place, (row, runs) in enumerate(rows):
            _draw_row(axes, place, runs)
            pooled = pooled_accuracy(results, row)
            if pooled is not None:
                _draw_pooled(axes, place + 0.3, pooled)
            _write_row(axes, place, runs, chosen=row == results.choice["chosen"])
        _scale(axes, results, len(rows))
        columns = " / ".join(_scores_of(results.table))
        _write(axes, columns, -0.75, color=rcParams["axes.labelcolor"], fontsize=9)
        limit = results.overfit_above
        if limit is not None and axes.get_xlim()[0] < limit < axes.get_xlim()[1]:
            _draw_limit(axes, limit)
        figure.legend(handles=_legend(results), loc="outside upper left", ncols=2)
        return finished(figure)


def _scores_of(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """The scores that are drawn, by subset."""
    tested = runs["accuracy"].where(runs["subset"] == "test")
    found = {"validation": runs["best_validation_accuracy"], "test": tested}
    return {subset: scores for subset, scores in found.items() if scores.notna().any()}


def _draw_row(axes: Axes, place: int, runs: pd.DataFrame) -> None:
    scores = _scores_of(runs)
    for subset, values in scores.items():
        apart = 0.0 if len(scores) == 1 else -_APART if subset == "validation" else _APART
        at = place + apart
        look: dict[str, Any] = {
            "color": colour_of(subset),
            "linestyle": "none",
            "marker": _MARKERS[subset],
        }
        if len(runs) > 1:
            axes.plot(values, [at] * len(values), markersize=3.5, alpha=0.55, **look)
        elif _is_interval_of(runs.iloc[0], subset):
            _draw_interval(axes, runs.iloc[0], at, colour_of(subset))
        axes.plot([values.mean()], [at], markersize=7.5, zorder=4, **look)
    published = runs["published_validation_accuracy"].mean()
    axes.plot([published], [place - (_APART if len(scores) > 1 else 0)], zorder=5, **_hollow())


def _draw_pooled(axes: Axes, at: float, pooled: pd.Series) -> None:
    colour = colour_of(pooled["subset"])
    ends = [pooled["pooled_low"], pooled["pooled_high"]]
    axes.plot(ends, [at, at], color=colour, linewidth=2.4, alpha=0.5, solid_capstyle="butt")
    axes.plot([pooled["pooled"]], [at], color=colour, linestyle="none", marker="X", markersize=7.5)


def _is_interval_of(run: pd.Series, subset: str) -> bool:
    """Whether the run's interval belongs to the score that is drawn of this subset."""
    if subset != run["subset"]:
        return False
    # with a fitted threshold the score is not the best epoch's accuracy at 0.5
    return subset == "test" or abs(run["accuracy"] - run["best_validation_accuracy"]) < 1e-6


def _draw_interval(axes: Axes, run: pd.Series, at: float, colour: str) -> None:
    low, high = run["accuracy_low"], run["accuracy_high"]
    axes.plot([low, high], [at, at], color=colour, linewidth=2.4, alpha=0.5, solid_capstyle="butt")


def _hollow() -> dict[str, Any]:
    return {
        "linestyle": "none",
        "marker": "D",
        "markersize": 8.5,
        "markerfacecolor": "none",
        "markeredgecolor": rcParams["text.color"],
        "markeredgewidth": 1.3,
    }


def _write_row(axes: Axes, place: int, runs: pd.DataFrame, *, chosen: bool) -> None:
    """Title at the left, scores and verdict at the right."""
    weight = "bold" if chosen else "normal"
    title = folded(str(runs["title"].iloc[0]), _TITLE_WIDTH, _TITLE_LINES)
    _write(axes, title, place, side="left", weight=weight)
    said = " / ".join(f"{values.mean():.4f}" for values in _scores_of(runs).values())
    verdict = "chosen" if chosen else str(runs["verdict"].iloc[0])
    _write(axes, "\n".join(filter(None, (said, verdict))), place, weight=weight)


def _write(axes: Axes, text: str, place: float, side: str = "right", **look: Any) -> None:
    """A text beside the axes, at the height of a row."""
    at, beside, align = (0, -8, "right") if side == "left" else (1, 8, "left")
    axes.annotate(
        text, (at, place), (beside, 0), xycoords=axes.get_yaxis_transform(),
        textcoords="offset points", annotation_clip=False, ha=align, va="center",
        linespacing=1.1, **{"fontsize": 9.5, **look},
    )  # fmt: skip


def _scale(axes: Axes, results: StudyResults, rows: int) -> None:
    table = results.table
    drawn = [*_scores_of(table).values(), table["published_validation_accuracy"]]
    if not results.is_repeated():
        drawn += [table[column] for column in _INTERVAL]
    of_accuracy = results.summary["metric"] == "accuracy"
    drawn += [results.summary.loc[of_accuracy, name] for name in ("pooled_low", "pooled_high")]
    values = finite(np.concatenate([column.astype(float) for column in drawn]))
    limit = results.overfit_above
    if limit is not None:
        reach = np.append(values, limit)
        # the limit may lie far from all scores: then it is only told
        if np.ptp(reach) <= 1.6 * max(np.ptp(values), 0.02):
            values = reach
    limits = accuracy_limits(values, values)
    axes.set_xlim(*limits)
    mark_accuracies(axes.xaxis, limits)
    axes.set_xlabel("Accuracy (share of images)")
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks(range(rows), [""] * rows)
    axes.spines["left"].set_visible(False)


def _draw_limit(axes: Axes, limit: float) -> None:
    axes.axvline(
        limit, color=rcParams["axes.labelcolor"], linewidth=1.1, linestyle=(0, (4, 3)), zorder=1
    )


def _legend(results: StudyResults) -> list[Line2D]:
    table = results.table
    handles = [
        Line2D(
            [], [], color=colour_of(subset), linestyle="none", marker=_MARKERS[subset],
            markersize=7.5,
            label="best validation accuracy" if subset == "validation" else "accuracy on test",
        )
        for subset in _scores_of(table)
    ]  # fmt: skip
    if results.is_repeated():
        handles.append(_explanation("small: single runs, large: their mean"))
        handles += _legend_of_pooled(results)
    elif table["accuracy_low"].notna().any():
        handles.append(
            Line2D(
                [], [], color=rcParams["axes.labelcolor"], linewidth=2.4, alpha=0.6,
                label="95 % interval, between groups",
            )
        )  # fmt: skip
    if table["published_validation_accuracy"].notna().any():
        handles.append(Line2D([], [], label="the reference's published figure", **_hollow()))
    if results.overfit_above is not None:
        handles.append(
            Line2D(
                [], [], color=rcParams["axes.labelcolor"], linewidth=1.1, linestyle=(0, (4, 3)),
                label=f"above {results.overfit_above:g}: counts as overfit",
            )
        )  # fmt: skip
    return handles


def _explanation(text: str) -> Line2D:
    quiet = rcParams["axes.labelcolor"]
    return Line2D([], [], color=quiet, linestyle="none", marker=".", markersize=6, label=text)


def _legend_of_pooled(results: StudyResults) -> list[Line2D]:
    pooled = [
        found for row, _ in results.rows() if (found := pooled_accuracy(results, row)) is not None
    ]
    return [
        Line2D(
            [], [], color=colour_of(found["subset"]), linewidth=2.4, marker="X", markersize=7.5,
            label=f"accuracy on {found['subset']}, all folds together; 95 % interval",
        )
        for found in pooled[:1]
    ]  # fmt: skip
