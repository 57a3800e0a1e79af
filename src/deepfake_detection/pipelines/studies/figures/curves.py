"""Each row's training, epoch by epoch, in a panel of its own."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from deepfake_detection.pipelines.studies.figures.limits import finite
from deepfake_detection.pipelines.studies.figures.panels import (
    has_values,
    label_outside,
    panel_grid,
    say_above,
    share_accuracies,
    share_epochs,
)
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.reports.curves import best_row
from deepfake_detection.reports.style import (
    Theme,
    colour_of,
    drawing,
    finished,
    message_figure,
)

_DASHES: dict[str, Any] = {"train": (0, (4, 1.5)), "validation": "-"}
_SUBSETS = tuple(_DASHES)
# Losses that spread over more than this factor are drawn on a logarithmic axis.
_WIDE = 10


def draw_curves(results: StudyResults, theme: Theme = "light") -> Figure:
    """Accuracy of train and validation by epoch, a panel for each row, the best epoch marked.

    Several runs of a row are thin lines in its panel.

    Args:
        results: Of the study.
        theme: For a light or a dark background.
    """
    with drawing(theme):
        columns = tuple(f"{subset}_accuracy" for subset in _SUBSETS)
        if not has_values(results.histories, columns):
            return message_figure("No epoch has an accuracy.", "Accuracy")
        figure, panels = _panels(results, "accuracy")
        note = share_accuracies(panels, results.histories, columns)
        label_outside(figure, panels, "Accuracy (share of images)", note)
        return finished(figure)


def draw_losses(results: StudyResults, theme: Theme = "light") -> Figure:
    """Loss of train and validation by epoch, a panel for each row, the best epoch marked.

    Args:
        results: Of the study.
        theme: For a light or a dark background.
    """
    with drawing(theme):
        if not has_values(results.histories, [f"{subset}_loss" for subset in _SUBSETS]):
            return message_figure("No epoch has a loss.", "Loss")
        figure, panels = _panels(results, "loss")
        logarithmic = _share_losses(panels, results)
        scale = ", logarithmic" if logarithmic else ""
        label_outside(figure, panels, f"Cross-entropy (nats{scale})")
        return finished(figure)


def _panels(results: StudyResults, quantity: str) -> tuple[Figure, list[Axes]]:
    rows = results.rows()
    titles = [str(runs["title"].iloc[0]) for _, runs in rows]
    figure, panels = panel_grid(titles, columns=_columns(results))
    for axes, (_, runs) in zip(panels, rows, strict=True):
        _draw_row(axes, [results.histories[run] for run in runs["run"]], quantity)
        say_above(axes, _outcome(runs))
    share_epochs(panels, results.histories)
    _explain(figure)
    return figure, panels


def _columns(results: StudyResults) -> int:
    """Of a grid, the rows of one label of its first axis stand side by side, if they fit."""
    beside = math.prod(len(labels) for labels in list(results.axes.values())[1:])
    fits = beside in (2, 3, 4) and len(results.rows()) % beside == 0
    return beside if fits else 0


def _draw_row(axes: Axes, histories: list[pd.DataFrame], quantity: str) -> None:
    alone = len(histories) == 1
    for history in histories:
        for subset, dashes in _DASHES.items():
            axes.plot(
                history["epoch"],
                history[f"{subset}_{quantity}"],
                color=colour_of(subset),
                linestyle=dashes,
                linewidth=1.6 if alone else 0.9,
                # a single epoch would be a line without length
                marker="." if len(history) == 1 else None,
                label=subset,
            )
        best = best_row(history)
        if best is not None:
            _mark_best(axes, best["epoch"], best[f"validation_{quantity}"], 8 if alone else 5.5)


def _mark_best(axes: Axes, epoch: float, value: float, size: float) -> None:
    axes.plot(
        [epoch],
        [value],
        linestyle="none",
        marker="o",
        markersize=size,
        markerfacecolor="none",
        markeredgecolor=rcParams["text.color"],
        markeredgewidth=1.2,
        label="best epoch",
        zorder=4,
    )


def _outcome(runs: pd.DataFrame) -> str:
    """What became of a row, in a few words."""
    best = runs["best_validation_accuracy"].mean()
    reached = "no accuracy" if np.isnan(best) else f"best {best:.4f}"
    if len(runs) > 1:
        return f"{reached}, mean of {len(runs)}{_verdict(runs)}"
    epoch = runs["best_epoch"].iloc[0]
    at = "" if np.isnan(best) or pd.isna(epoch) else f", epoch {epoch:.0f}"
    return f"{reached}{at}{_verdict(runs)}"


def _verdict(runs: pd.DataFrame) -> str:
    return "".join(f" · {verdict}" for verdict in runs["verdict"].unique()[:1] if verdict)


def _explain(figure: Figure) -> None:
    lines = [
        Line2D([], [], color=colour_of(subset), linestyle=dashes, label=subset)
        for subset, dashes in _DASHES.items()
    ]
    ring = Line2D(
        [], [], linestyle="none", marker="o", markersize=8, markerfacecolor="none",
        markeredgecolor=rcParams["text.color"], markeredgewidth=1.2, label="best epoch",
    )  # fmt: skip
    figure.legend(handles=[*lines, ring], loc="outside upper left", ncols=3)


def _share_losses(panels: list[Axes], results: StudyResults) -> bool:
    drawn = [
        history[f"{subset}_loss"] for history in results.histories.values() for subset in _SUBSETS
    ]
    values = finite(np.concatenate(drawn))
    low, high = values.min(), values.max()
    logarithmic = bool(low > 0 and high / low > _WIDE)
    beyond = (high / low) ** 0.05 if logarithmic else 0
    for axes in panels:
        if logarithmic:
            axes.set_yscale("log")
            axes.set_ylim(low / beyond, high * beyond)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.minorticks_off()
        else:
            margin = 0.06 * max(high - low, 1e-3)
            axes.set_ylim(max(low - margin, -margin), high + margin)
    return logarithmic
