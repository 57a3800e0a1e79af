"""The report's figures that are drawn from tables alone: curves, confusion matrix, ROC curve.

Every function returns a Matplotlib figure that belongs to nobody else: no window, no global
state, nothing to close.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from deepfake_detection.plotting.curves import best_row, number_epochs
from deepfake_detection.plotting.style import (
    Theme,
    colour_of,
    drawing,
    finished,
    message_figure,
)
from deepfake_detection.plotting.words import counted, percent
from deepfake_detection.scoring.subsets import scored_subsets

_CLASSES = {0: "real", 1: "fake"}
# What a cell of the confusion matrix is, by (label, predicted).
_OUTCOMES = {
    (0, 0): "real ones passed",
    (0, 1): "false alarm",
    (1, 0): "missed fake",
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
    title = "ROC curve"
    subsets = scored_subsets(predictions)
    undefined = [reason for subset in subsets if (reason := _why_no_curve(predictions, subset))]
    with drawing(theme):
        if len(undefined) == len(subsets):
            return message_figure("\n".join(undefined) or "No image was scored.", title)
        figure = Figure(figsize=(4.7, 4.6))
        axes = figure.add_subplot()
        axes.plot(
            [0, 1], [0, 1], color=rcParams["axes.edgecolor"], linewidth=1, linestyle=(0, (4, 4))
        )
        for subset in subsets:
            if not _why_no_curve(predictions, subset):
                _add_roc(axes, predictions[predictions["subset"] == subset], subset)
        for reason in undefined:
            axes.plot([], [], linestyle="none", label=reason)
        axes.plot(
            [],
            [],
            linestyle="none",
            marker="o",
            color=rcParams["text.color"],
            markerfacecolor="none",
            markersize=8,
            label=f"at the detector's threshold, {threshold:.3g}",
        )
        axes.set(title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel("False alarm rate (share of real images)")
        axes.set_ylabel("Recall (share of fakes found)")
        axes.legend(loc="lower right")
        return finished(figure)


def _why_no_curve(predictions: pd.DataFrame, subset: str) -> str | None:
    labels = predictions.loc[predictions["subset"] == subset, "label"].unique()
    if len(labels) > 1:
        return None
    return f"{subset}: undefined, it holds only {_CLASSES[int(labels[0])]} images"


def _add_roc(axes: Axes, scored: pd.DataFrame, subset: str) -> None:
    # by logit, not probability: certain scores all round to the probability 1 and would tie
    false_alarms, found, _ = roc_curve(scored["label"], scored["logit"])
    area = roc_auc_score(scored["label"], scored["logit"])
    colour = colour_of(subset)
    images = counted(len(scored), "image")
    axes.plot(
        false_alarms, found, color=colour, label=f"{subset}: AUC {area:.3f} ({images})", zorder=3
    )
    counts = confusion_counts(scored)
    rates = counts[:, 1] / counts.sum(axis=1)
    axes.plot(
        [rates[0]],
        [rates[1]],
        marker="o",
        markersize=9,
        markerfacecolor=rcParams["figure.facecolor"],
        markeredgecolor=colour,
        markeredgewidth=2,
        zorder=4,
        clip_on=False,
    )
