"""The report's figures that are drawn from tables alone: curves over epochs and over thresholds.

Every function returns a Matplotlib figure that belongs to nobody else: no window, no global
state, nothing to close.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from deepfake_detection.metrics.subsets import scored_subsets
from deepfake_detection.reports.curves import best_row, number_epochs
from deepfake_detection.reports.style import (
    Theme,
    colour_of,
    drawing,
    finished,
    message_figure,
)
from deepfake_detection.reports.words import counted, percent

_CLASSES = {0: "real", 1: "fake"}
# What a cell of the confusion matrix is, by (label, predicted).
_OUTCOMES = {
    (0, 0): "real ones passed",
    (0, 1): "false positive",
    (1, 0): "false negative",
    (1, 1): "fakes found",
}
_PALEST, _DEEPEST = 0.06, 0.55


def draw_loss(history: pd.DataFrame, theme: Theme = "light") -> Figure:
    """Loss of train and validation by epoch, the best epoch marked.

    Args:
        history: A row for each epoch: epoch, train_loss, validation_loss, validation_accuracy.
        theme: For a light or a dark background.
    """
    return _draw_curves(history, "loss", "Loss", "Cross-entropy (nats)", theme)


def draw_accuracy(history: pd.DataFrame, theme: Theme = "light") -> Figure:
    """Accuracy of train and validation by epoch, the best epoch marked.

    Args:
        history: A row for each epoch: epoch, train_accuracy, validation_accuracy.
        theme: For a light or a dark background.
    """
    return _draw_curves(history, "accuracy", "Accuracy", "Share of images judged right", theme)


def _draw_curves(
    history: pd.DataFrame, quantity: str, title: str, unit: str, theme: Theme
) -> Figure:
    with drawing(theme):
        if history.empty:
            return message_figure("No epoch was trained.", title)
        figure = Figure()
        axes = figure.add_subplot()
        for subset in ("train", "validation"):
            values = history[f"{subset}_{quantity}"]
            marks = "o" if subset == "train" else "s"
            axes.plot(history["epoch"], values, color=colour_of(subset), marker=marks, label=subset)
        _mark_best_epoch(axes, history, f"validation_{quantity}")
        number_epochs(axes, history["epoch"].min(), history["epoch"].max())
        axes.margins(y=0.1)
        axes.set(xlabel="Epoch", ylabel=unit)
        _head(axes, title)
        return finished(figure)


def _mark_best_epoch(axes: Axes, history: pd.DataFrame, column: str) -> None:
    best = best_row(history)
    if best is None:
        return
    ink = rcParams["text.color"]
    axes.axvline(best["epoch"], color=ink, linewidth=1, linestyle=(0, (2, 3)), zorder=1)
    axes.plot(
        [best["epoch"]],
        [best[column]],
        linestyle="none",
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor=ink,
        markeredgewidth=1.4,
        label=f"best epoch: {int(best['epoch'])}",
    )


def _head(axes: Axes, title: str) -> None:
    """Title and, between it and the axes, where no curve can run through it, the legend."""
    axes.set_title(title, pad=30)
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=3,
        columnspacing=1.4,
        borderpad=0,
        borderaxespad=0.6,
    )


def confusion_counts(predictions: pd.DataFrame) -> np.ndarray:
    """Images by label and prediction, as a 2×2 array: rows real, fake; columns called real, fake.

    Args:
        predictions: Columns label and predicted, 1 for fake and 0 for real.
    """
    counts = np.zeros((2, 2), dtype=int)
    np.add.at(counts, (predictions["label"].astype(int), predictions["predicted"].astype(int)), 1)
    return counts


def draw_confusion_matrix(
    predictions: pd.DataFrame, subsets: Sequence[str] | None = None, theme: Theme = "light"
) -> Figure:
    """Counts and shares of each class, for each scored subset beside the other.

    Args:
        predictions: A row for each scored image: label, predicted, subset.
        subsets: Those to draw; all that were scored, the headline subset first, where not given.
        theme: For a light or a dark background.
    """
    shown = list(subsets or scored_subsets(predictions))
    with drawing(theme):
        if predictions.empty or not shown:
            return message_figure("No image was scored.", "Confusion matrix")
        width, height = rcParams["figure.figsize"]
        figure = Figure(figsize=(width * len(shown), height))
        for axes, subset in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
            scored = predictions[predictions["subset"] == subset]
            _fill_confusion(axes, confusion_counts(scored), subset)
        return finished(figure)


def _fill_confusion(axes: Axes, counts: np.ndarray, subset: str) -> None:
    axes.set(title=f"Confusion matrix, {subset}", xlim=(-0.5, 1.5), ylim=(1.5, -0.5))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    totals = counts.sum(axis=1)
    for (truth, called), outcome in _OUTCOMES.items():
        count, total = counts[truth, called], totals[truth]
        share = count / total if total else 0.0
        # right answers in the colour of their subset, errors in their own: as everywhere else
        colour = colour_of(subset if truth == called else outcome)
        alpha = _PALEST + (_DEEPEST - _PALEST) * share if total else 0.0
        cell = to_rgba(colour, alpha)
        axes.fill_between(
            [called - 0.48, called + 0.48], truth - 0.47, truth + 0.47, color=cell, linewidth=0
        )
        plural = outcome if count == 1 or outcome.endswith(("passed", "found")) else f"{outcome}s"
        axes.text(called, truth - 0.12, f"{count:,}", ha="center", va="center", fontsize=19)
        share_words = percent(share) if total else "none of this class"
        axes.text(called, truth + 0.12, share_words, ha="center", va="center", fontsize=10)
        axes.text(called, truth + 0.31, plural, ha="center", va="center", fontsize=10)
    axes.set_xticks([0, 1], [f"called {name}" for name in _CLASSES.values()])
    rows = [f"{name}\n{totals[label]:,}" for label, name in _CLASSES.items()]
    axes.set_yticks([0, 1], rows)
    axes.set_ylabel("True class, images")


def draw_roc(predictions: pd.DataFrame, threshold: float, theme: Theme = "light") -> Figure:
    """ROC curve of each scored subset over images, with the point at which the detector works.

    A subset with images of one class only has no curve; the figure says so.

    Args:
        predictions: A row for each scored image: label, logit, predicted, subset.
        threshold: The fake probability from which the detector calls a picture fake; only named,
            the point itself comes from `predicted`.
        theme: For a light or a dark background.
    """
    with drawing(theme):
        figure = _draw_by_subset(predictions, threshold, "ROC curve", _add_roc)
        if axes := figure.axes[0] if figure.axes[0].axison else None:
            axes.plot([0, 1], [0, 1], **_guessing())
            axes.set_xlabel("False positive rate (share of real images)")
            axes.set_ylabel("Recall (share of fakes found)")
            axes.legend(loc="lower right")
        return finished(figure)


def draw_precision_recall(
    predictions: pd.DataFrame, threshold: float, theme: Theme = "light"
) -> Figure:
    """Precision by recall of each scored subset over images, with the detector's own point.

    What guessing gets, the share of fakes, is drawn dashed in the subset's colour. A subset with
    images of one class only has no curve; the figure says so.

    Args:
        predictions: As for the ROC curve.
        threshold: As for the ROC curve.
        theme: For a light or a dark background.
    """
    with drawing(theme):
        figure = _draw_by_subset(predictions, threshold, "Precision and recall", _add_precision)
        if axes := figure.axes[0] if figure.axes[0].axison else None:
            axes.set_xlabel("Recall (share of fakes found)")
            axes.set_ylabel("Precision (share of fakes among those called fake)")
            axes.legend(loc="lower left")
        return finished(figure)


def _draw_by_subset(
    predictions: pd.DataFrame,
    threshold: float,
    title: str,
    add: Callable[[Axes, pd.DataFrame, str], None],
) -> Figure:
    """A square with a curve of each subset that has both classes; or why there is none."""
    subsets = scored_subsets(predictions)
    undefined = [reason for subset in subsets if (reason := why_no_curve(predictions, subset))]
    if len(undefined) == len(subsets):
        return message_figure("\n".join(undefined) or "No image was scored.", title)
    figure = Figure(figsize=(4.7, 4.6))
    axes = figure.add_subplot()
    for subset in subsets:
        if not why_no_curve(predictions, subset):
            add(axes, predictions[predictions["subset"] == subset], subset)
    for reason in undefined:
        axes.plot([], [], linestyle="none", label=reason)
    named = f"at the detector's threshold, {threshold:.3g}"
    _add_point(axes, [], [], rcParams["text.color"], facecolor="none", size=8, label=named)
    axes.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure


def why_no_curve(predictions: pd.DataFrame, subset: str) -> str | None:
    """Why a subset has no curve over thresholds: it holds one class only; None if it has one.

    Args:
        predictions: A row for each scored image: label, subset.
        subset: One that was scored.
    """
    labels = predictions.loc[predictions["subset"] == subset, "label"].unique()
    if len(labels) > 1:
        return None
    return f"{subset}: undefined, it holds only {_CLASSES[int(labels[0])]} images"


def _add_roc(axes: Axes, scored: pd.DataFrame, subset: str) -> None:
    # by logit, not probability: certain scores all round to the probability 1 and would tie
    false_positives, found, _ = roc_curve(scored["label"], scored["logit"])
    area = roc_auc_score(scored["label"], scored["logit"])
    label = f"{subset}: AUC {area:.3f} ({counted(len(scored), 'image')})"
    axes.plot(false_positives, found, color=colour_of(subset), label=label, zorder=3)
    counts = confusion_counts(scored)
    rates = counts[:, 1] / counts.sum(axis=1)
    _add_point(axes, [rates[0]], [rates[1]], colour_of(subset))


def _add_precision(axes: Axes, scored: pd.DataFrame, subset: str) -> None:
    precision, recall, _ = precision_recall_curve(scored["label"], scored["logit"])
    mean = average_precision_score(scored["label"], scored["logit"])
    share = scored["label"].mean()
    colour = colour_of(subset)
    label = f"{subset}: AP {mean:.3f}, guessing {share:.3f}"
    # the curve is a staircase, and the average precision the area beneath it
    axes.plot(recall, precision, color=colour, label=label, drawstyle="steps-pre", zorder=3)
    axes.plot([0, 1], [share, share], **_guessing() | {"color": colour})
    (_, false_positives), (missed, found) = confusion_counts(scored)
    if found + false_positives:
        _add_point(axes, [found / (found + missed)], [found / (found + false_positives)], colour)


def _guessing() -> dict[str, Any]:
    """How the line is drawn that guessing gets."""
    return {"color": rcParams["axes.edgecolor"], "linewidth": 1, "linestyle": (0, (4, 4))}


def _add_point(
    axes: Axes,
    x: list[float],
    y: list[float],
    colour: str,
    *,
    facecolor: str | None = None,
    size: float = 9,
    label: str = "",
) -> None:
    """The point at which the detector works, as a ring."""
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markersize=size,
        markerfacecolor=facecolor or rcParams["figure.facecolor"],
        markeredgecolor=colour,
        markeredgewidth=2 if x else 1,
        zorder=4,
        clip_on=False,
        label=label,
    )
