"""The report's figures of training and scores: curves over epochs and thresholds, counts.

Every function returns a new Matplotlib figure that belongs to no window and needs no closing. A
history has a row for each epoch, as training saves it; predictions have one for each scored image:
label and predicted (1 fake, 0 real), logit, subset.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from sklearn.metrics import (
    ConfusionMatrixDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    confusion_matrix,
    precision_score,
    recall_score,
    roc_curve,
)

from deepfake_detection.metrics.scored import share
from deepfake_detection.metrics.subsets import scored_subsets
from deepfake_detection.reports.curves import best_row, number_epochs
from deepfake_detection.reports.style import colour_of, drawing, finished, message_figure
from deepfake_detection.reports.words import counted, percent

_CLASSES = ("real", "fake")
# Names of the cells of the confusion matrix: rows by true class, columns by predicted class.
_OUTCOMES = (
    ("real images accepted", "false positives"),
    ("false negatives", "fakes detected"),
)
_NOTHING_SCORED = "No image was scored."
# Opacity of a cell of the confusion matrix that holds none and all of its class.
_PALEST, _DEEPEST = 0.06, 0.55
_SQUARE = (4.7, 4.8)
_BAND_POINTS = 100
# Style of the line of a random guess
_DASHED: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 4))}


def draw_curves(
    history: pd.DataFrame, quantity: Literal["loss", "accuracy"], backbone: str
) -> Figure:
    """Loss or accuracy of train and validation by epoch, the best epoch marked."""
    title = f"{quantity.capitalize()}, {backbone}"
    with drawing():
        if history.empty:
            return message_figure("There is no training history of this detector.", title)
        figure = Figure()
        axes = figure.add_subplot()
        for subset, marker in (("train", "o"), ("validation", "s")):
            values = history[f"{subset}_{quantity}"]
            axes.plot(
                history["epoch"], values, color=colour_of(subset), marker=marker, label=subset
            )
        _mark_best_epoch(axes, history, f"validation_{quantity}")
        number_epochs(axes, history["epoch"].min(), history["epoch"].max())
        axes.margins(y=0.1)
        unit = "Cross-entropy (nats)" if quantity == "loss" else "Share of correct predictions"
        axes.set(xlabel="Epoch", ylabel=unit)
        # the legend stands between title and axes, where no curve can run through it
        axes.set_title(title, pad=30)
        axes.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, columnspacing=1.4, borderpad=0,
            borderaxespad=0.6,
        )  # fmt: skip
        return finished(figure)


def _mark_best_epoch(axes: Axes, history: pd.DataFrame, column: str) -> None:
    best = best_row(history)
    if best is None:
        return
    axes.axvline(
        best["epoch"], color=rcParams["text.color"], linewidth=1, linestyle=(0, (2, 3)), zorder=1
    )
    _add_ring(
        axes, best["epoch"], best[column], rcParams["text.color"],
        label=f"best epoch: {int(best['epoch'])}", facecolor="none",
    )  # fmt: skip


def confusion_counts(predictions: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Images by true class (rows: real, fake) and predicted class (columns), int [2, 2]."""
    if predictions.empty:
        return np.zeros((2, 2), dtype=np.int64)
    return confusion_matrix(predictions["label"], predictions["predicted"], labels=[0, 1])


def draw_confusion_matrices(predictions: pd.DataFrame) -> Figure:
    """Counts and shares of each class, a matrix for each scored subset, the headline one first."""
    subsets = scored_subsets(predictions)
    with drawing():
        if not subsets:
            return message_figure(_NOTHING_SCORED, "Confusion matrix")
        width, height = rcParams["figure.figsize"]
        figure = Figure(figsize=(width, height * len(subsets)))
        places = figure.subplots(len(subsets), 1, squeeze=False)[:, 0]
        for axes, subset in zip(places, subsets, strict=True):
            counts = confusion_counts(predictions[predictions["subset"] == subset])
            _fill_confusion(axes, counts, subset)
        return finished(figure)


def _fill_confusion(axes: Axes, counts: np.ndarray, subset: str) -> None:
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    ends = [to_rgba(colour_of(subset), opacity) for opacity in (_PALEST, _DEEPEST)]
    display = ConfusionMatrixDisplay(shares, display_labels=[f"called {each}" for each in _CLASSES])
    display.plot(
        ax=axes, colorbar=False, cmap=LinearSegmentedColormap.from_list(subset, ends),
        im_kw={"vmin": 0, "vmax": 1, "aspect": "auto"},
    )  # fmt: skip
    for (truth, called), text in np.ndenumerate(display.text_):
        share = percent(shares[truth, called]) if totals[truth, 0] else "none of this class"
        text.set_text(f"{counts[truth, called]:,}\n{share}\n{_OUTCOMES[truth][called]}")
        text.set(color=rcParams["text.color"], linespacing=1.4)
    rows = [f"{name}\n{total:,}" for name, total in zip(_CLASSES, totals[:, 0], strict=True)]
    axes.set_yticks([0, 1], rows)
    axes.set(title=f"Confusion matrix, {subset}", xlabel="", ylabel="True class, images")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def draw_roc(predictions: pd.DataFrame, threshold: float, confidence: float) -> Figure:
    """ROC curve of each scored subset over images, with the detector's operating point.

    A subset with images of one class only has no curve; the figure says so. Curves are by logit:
    certain scores all round to the probability 1 and would tie. The point comes from `predicted`;
    the threshold is only named in the legend. The band is the interval of recall at each threshold,
    between groups, as the metric table has it at the detector's own.
    """

    def add(axes: Axes, scored: pd.DataFrame, subset: str) -> tuple[float, float]:
        rates, low, high = _band_recall(scored, confidence).T
        axes.fill_between(
            rates, low, high, step="post", color=colour_of(subset), alpha=0.15, linewidth=0,
            label="_" if axes.collections else f"{100 * confidence:g} % interval of recall",
        )  # fmt: skip
        RocCurveDisplay.from_predictions(
            scored["label"], scored["logit"], ax=axes, curve_kwargs={"color": colour_of(subset)},
            name=f"{subset}, {counted(len(scored), 'image')}",
        )  # fmt: skip
        (_, false_positives), (_, detected) = confusion_counts(scored)
        fakes = scored["label"].sum()
        return false_positives / (len(scored) - fakes), detected / fakes

    names = {
        "title": "ROC curve",
        "xlabel": "False positive rate (share of real images)",
        "ylabel": "Recall (share of fakes detected)",
    }
    with drawing():
        return _draw_by_subset(predictions, threshold, add, names, diagonal=True)


def _band_recall(scored: pd.DataFrame, confidence: float) -> np.ndarray:
    """False positive rate and both ends of the interval of recall, at 100 thresholds at most."""
    fakes = (scored["label"] == 1).to_numpy()
    rates, _, thresholds = roc_curve(scored["label"], scored["logit"], drop_intermediate=False)
    # of thresholds with one rate the lowest
    last = np.flatnonzero(np.append(np.diff(rates) > 0, True))
    shown = last[np.unique(np.linspace(0, len(last) - 1, _BAND_POINTS).astype(int))]
    found = (
        share("recall", "fake", fakes & (scored["logit"] >= limit), fakes, int(fakes.sum()))
        for limit in thresholds[shown]
    )
    groups = scored["group"].to_numpy()
    return np.column_stack([rates[shown], [each.interval(groups, confidence) for each in found]])


def draw_precision_recall(predictions: pd.DataFrame, threshold: float) -> Figure:
    """Precision by recall, as `draw_roc`; guessing, the share of fakes, is dashed."""

    def add(axes: Axes, scored: pd.DataFrame, subset: str) -> tuple[float, float]:
        colour, label, predicted = colour_of(subset), scored["label"], scored["predicted"]
        guessing = {"color": colour, "label": f"{subset}: guessing {label.mean():.2f}"}
        PrecisionRecallDisplay.from_predictions(
            label, scored["logit"], ax=axes, name=subset, curve_kwargs={"color": colour},
            drop_intermediate=True, plot_chance_level=True, chance_level_kw=_DASHED | guessing,
        )  # fmt: skip
        # a detector that calls nothing fake has no precision
        precision = precision_score(label, predicted, zero_division=np.nan)
        return recall_score(label, predicted), precision

    names = {
        "title": "Precision and recall",
        "xlabel": "Recall (share of fakes detected)",
        "ylabel": "Precision (share of fakes among those called fake)",
    }
    with drawing():
        return _draw_by_subset(predictions, threshold, add, names, diagonal=False)


def why_no_curves(predictions: pd.DataFrame) -> dict[str, str]:
    """The subsets that have no curve over thresholds, since they hold one class only, and why."""
    return {
        subset: f"{subset}: undefined, it holds only {_CLASSES[int(labels.iloc[0])]} images"
        for subset in scored_subsets(predictions)
        if (labels := predictions.loc[predictions["subset"] == subset, "label"]).nunique() == 1
    }


def _draw_by_subset(
    predictions: pd.DataFrame,
    threshold: float,
    add: Callable[[Axes, pd.DataFrame, str], tuple[float, float]],
    names: dict[str, str],
    *,
    diagonal: bool,
) -> Figure:
    """A square with a curve and an operating point for each subset that has both classes."""
    subsets, undefined = scored_subsets(predictions), why_no_curves(predictions)
    if len(undefined) == len(subsets):
        reasons = "\n".join(undefined.values())
        return message_figure(reasons or _NOTHING_SCORED, names["title"])
    figure = Figure(figsize=_SQUARE)
    axes = figure.add_subplot()
    for subset in subsets:
        if subset not in undefined:
            point = add(axes, predictions[predictions["subset"] == subset], subset)
            _add_ring(axes, *point, colour_of(subset))
    for reason in undefined.values():
        axes.plot([], [], linestyle="none", label=reason)
    if diagonal:
        axes.plot([0, 1], [0, 1], color=rcParams["axes.edgecolor"], **_DASHED)
    ink = rcParams["text.color"]
    _add_ring(axes, np.nan, np.nan, ink, label=f"at the detector's threshold, {threshold:.3g}")
    axes.set(**names, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(loc="lower right" if diagonal else "lower left")
    return finished(figure)


def _add_ring(
    axes: Axes, x: float, y: float, colour: str, label: str = "", facecolor: str | None = None
) -> None:
    axes.plot(
        [x], [y], linestyle="none", marker="o", markersize=9, markeredgecolor=colour,
        markerfacecolor=facecolor or rcParams["figure.facecolor"], markeredgewidth=1.6, zorder=4,
        clip_on=False, label=label,
    )  # fmt: skip
