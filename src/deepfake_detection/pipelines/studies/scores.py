"""Figures of scores as dots: of each row, what the split method changes, what a row adds."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepfake_detection.pipelines.studies.curves import add_legend, finite, scale_accuracies
from deepfake_detection.pipelines.studies.tables import BEST, PUBLISHED, StudyResults, say_apart
from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import folded

# Column, marker and label by subset
_SCORES = {
    "validation": (BEST, "o", "best validation accuracy"),
    "test": ("accuracy", "s", "accuracy on test"),
}
_PUBLISHED = PUBLISHED[BEST]
# Two dots of a row stand this far above and beneath its line, its score of all folds further below
_APART, _BELOW = 0.17, 0.3
# The metrics of a step: label and marker
_STEPS = {"accuracy": ("accuracy", "s"), "roc_auc": ("ROC AUC", "o")}


def draw_scores(results: StudyResults) -> Figure:
    """A line for each row with its scores and their 95 % intervals between groups.

    A hollow mark is the reference's published figure; how far above it ours is stands beside it in
    percentage points. The dashed line is the accuracy above which a
    run counts as overfit. Of several runs each is a small dot and their mean a large one.
    """
    with drawing():
        if not len(finite(results.table[BEST])):
            return message_figure("No run has a validation accuracy.", "Scores")
        figure = Figure(figsize=(10, 1.9 + 0.46 * len(results.rows)))
        axes = figure.add_subplot()
        shown = ["validation", *(["test"] if "test" in set(results.table["subset"]) else [])]
        for place, (row, _, runs) in enumerate(results.rows):
            _draw_row(axes, place, runs, shown)
            _draw_all_folds(axes, place + _BELOW, results.accuracy_of_all_folds(row))
            scores = " / ".join(f"{runs[_SCORES[subset][0]].mean():.4f}" for subset in shown)
            verdict = str(runs["verdict"].iloc[0])
            weight = "bold" if verdict == "chosen" else "normal"
            apart = say_apart(runs[BEST].mean(), runs[_PUBLISHED].mean(), "points")
            line = " · ".join(filter(None, (apart, verdict)))
            _write(axes, "\n".join(filter(None, (scores, line))), place, weight)
        published = "\nours − published" if results.table[_PUBLISHED].notna().any() else ""
        _write(axes, " / ".join(shown) + published, -0.6, va="bottom")
        _scale(axes, results.study.overfit_above)
        axes.set_ylim(len(results.rows) - 0.4, -0.6)
        titles = [folded(title, 34, 2) for _, title, _ in results.rows]
        axes.set_yticks(range(len(titles)), titles)
        add_legend(figure, [axes])
        return finished(figure)


def _draw_row(axes: Axes, place: int, runs: pd.DataFrame, shown: list[str]) -> None:
    for number, subset in enumerate(shown):
        column, marker, label = _SCORES[subset]
        at = place + (_APART * (2 * number - 1) if len(shown) > 1 else 0)
        look: dict[str, Any] = {
            "color": colour_of(subset), "linestyle": "none", "marker": marker
        }  # fmt: skip
        if len(runs) > 1:
            axes.plot(
                runs[column],
                [at] * len(runs),
                markersize=3.5,
                alpha=0.55,
                label="single run",
                **look,
            )
            label += ", mean of runs"
        else:
            _draw_interval(axes, runs[[f"{column}_low", f"{column}_high"]].iloc[0], at, subset)
        axes.plot([runs[column].mean()], [at], markersize=7.5, zorder=4, label=label, **look)
        if column == BEST and runs[_PUBLISHED].notna().any():
            axes.plot(
                [runs[_PUBLISHED].mean()], [at], linestyle="none", marker="D", markersize=8.5,
                markerfacecolor="none", markeredgecolor=rcParams["text.color"],
                markeredgewidth=1.3, zorder=5, label="the reference's published figure",
            )  # fmt: skip


def _draw_interval(axes: Axes, ends: pd.Series, at: float, subset: str) -> None:
    if ends.notna().all():
        axes.plot(
            list(ends), [at, at], color=colour_of(subset), linewidth=2.4, alpha=0.5,
            solid_capstyle="butt", label="95 % interval, between groups",
        )  # fmt: skip


def _draw_all_folds(axes: Axes, at: float, summary: pd.Series | None) -> None:
    if summary is not None:
        subset = str(summary["subset"])
        _draw_interval(axes, summary[["all_folds_low", "all_folds_high"]], at, subset)
        axes.plot(
            [summary["all_folds"]], [at], color=colour_of(subset), linestyle="none", marker="X",
            markersize=7.5, label=f"accuracy on {subset}, images of all folds",
        )  # fmt: skip


def _write(axes: Axes, text: str, place: float, weight: str = "normal", va: str = "center") -> None:
    """Write a text at the right of the axes, at the height of a row."""
    axes.annotate(
        text, (1, place), (8, 0), xycoords=axes.get_yaxis_transform(), va=va,
        textcoords="offset points", annotation_clip=False, fontsize=9.5, weight=weight,
    )  # fmt: skip


def _scale(axes: Axes, limit: float | None) -> None:
    values = finite(*(np.asarray(line.get_xdata(), dtype=float) for line in axes.lines))
    # a limit far from all scores would waste the axis
    if limit is not None and np.ptp([*values, limit]) <= 1.6 * max(np.ptp(values), 0.02):
        values = np.append(values, limit)
        axes.axvline(
            limit, color=rcParams["axes.labelcolor"], linewidth=1.1, linestyle=(0, (4, 3)),
            zorder=1, label=f"above {limit:g}: counts as overfit",
        )  # fmt: skip
    scale_accuracies(axes, values, axis="x")
    axes.set_xlabel("Accuracy (share of images)")
    axes.spines["left"].set_visible(False)


def draw_inflation(inflation: pd.DataFrame) -> Figure:
    """A line for each pair, from its score with a group split to that with an individual one.

    There is a panel for each metric and subset of `compare_split_methods`; the inflation stands
    above the line.
    """
    titles = list(dict.fromkeys(inflation["title"]))
    parts = list(inflation.groupby(["metric", "subset"], sort=False))
    with drawing():
        figure = Figure(figsize=(1.9 + 2.9 * len(parts), 1.5 + 0.5 * len(titles)))
        panels = figure.subplots(1, len(parts), squeeze=False, sharey=True)[0]
        panels[0].set_yticks(range(len(titles)), [folded(title, 30, 2) for title in titles])
        panels[0].set_ylim(len(titles) - 0.5, -0.7)
        for axes, ((metric, subset), pairs) in zip(panels, parts, strict=True):
            for _, pair in pairs.iterrows():
                _draw_pair(axes, titles.index(pair["title"]), pair)
            scale_accuracies(axes, finite(pairs["group"], pairs["individual"]), axis="x")
            axes.spines["left"].set_visible(False)
            axes.set_xlabel(f"{metric} on {subset}".replace("validation accuracy", "Accuracy"))
        add_legend(figure, panels)
        return finished(figure)


def _draw_pair(axes: Axes, place: int, pair: pd.Series) -> None:
    ends = [pair["group"], pair["individual"]]
    axes.plot(ends, [place, place], color=rcParams["axes.edgecolor"], zorder=2, label="_")
    for method, marker in (("group", "o"), ("individual", "D")):
        axes.plot(
            [pair[method]], [place], marker=marker, markersize=8, linestyle="none",
            color=colour_of(method), zorder=3, label=f"{method} split",
        )  # fmt: skip
    spread = pair["standard_deviation"]
    text = f"{pair['inflation']:+.3f}" + (f" ± {spread:.3f}" if np.isfinite(spread) else "")
    axes.annotate(
        text.replace("-", "−"), (float(np.mean(ends)), place), (0, 5),
        textcoords="offset points", ha="center", va="bottom", fontsize=9,
    )  # fmt: skip


def draw_steps(steps: pd.DataFrame) -> Figure:
    """A line for each row with its differences to the row before, and the time of an epoch.

    The table is that of `compare_steps`. The first row has its scores in words.
    """
    titles = list(dict.fromkeys(steps["title"]))
    with drawing():
        figure = Figure(figsize=(10, 1.7 + 0.5 * len(titles)))
        changes, times = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1.5])
        changes.axvline(0, color=rcParams["axes.edgecolor"], linewidth=1.2, zorder=1, label="_")
        for place, (_, row) in enumerate(steps.groupby("row", sort=False)):
            _draw_step(changes, place, row)
            seconds, ratio = row[["seconds_per_epoch", "seconds_ratio"]].iloc[0]
            times.barh([place], [seconds], height=0.5, color=rcParams["axes.edgecolor"])
            text = f"{seconds:.3g} s" + (f", × {ratio:.2f}" if np.isfinite(ratio) else "")
            times.annotate(
                text, (seconds, place), (4, 0), textcoords="offset points", va="center",
                fontsize=9,
            )  # fmt: skip
        first = steps[steps["title"] == titles[0]].set_index("metric")["value"]
        words = ", ".join(f"{label} {first[metric]:.4f}" for metric, (label, _) in _STEPS.items())
        low, high = changes.get_xlim()
        side = 1 if -low < high else -1
        changes.annotate(
            words, (0, 0), (8 * side, 0), textcoords="offset points", va="center", fontsize=9,
            ha="left" if side > 0 else "right",
        )  # fmt: skip
        changes.set_yticks(range(len(titles)), [folded(title, 34, 2) for title in titles])
        changes.set_ylim(len(titles) - 0.5, -0.6)
        changes.spines["left"].set_visible(False)
        changes.set_xlabel(f"Difference to the row before, on {steps['subset'].iloc[0]}")
        times.grid(visible=False, axis="y")
        times.set_xlim(0, 1.8 * steps["seconds_per_epoch"].max())
        times.set_xlabel("Seconds per epoch (median)")
        if len(changes.lines) > 1:
            add_legend(figure, [changes])
        return finished(figure)


def _draw_step(axes: Axes, place: int, row: pd.Series | pd.DataFrame) -> None:
    for number, (metric, (label, marker)) in enumerate(_STEPS.items()):
        step = row[row["metric"] == metric].iloc[0]
        if np.isfinite(step["difference"]):
            at, colour = place + _APART * (2 * number - 1), colour_of(label)
            axes.plot(
                step[["low", "high"]].to_numpy(float), [at, at], color=colour, linewidth=2.4,
                alpha=0.5, solid_capstyle="butt", label="95 % interval, between groups",
            )  # fmt: skip
            axes.plot(
                [step["difference"]], [at], color=colour, marker=marker, markersize=7,
                linestyle="none", zorder=4, label=label,
            )  # fmt: skip
