"""Metrics of predictions, at image and at source level.

Fake is the positive class; precision, recall and F1 are given for both classes, by name.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score, roc_curve

from deepfake_detection.metrics.intervals import (
    UNKNOWN,
    Floats,
    area_interval,
    average_precision_influence,
    balanced_accuracy_influence,
    interval,
    positive_interval,
    roc_auc_influence,
    share_influence,
)
from deepfake_detection.models.detector import CLASS_NAMES

COUNTS = ("true_negatives", "false_positives", "false_negatives", "true_positives")

_AREAS = ("roc_auc", "average_precision")
_NO_INTERVAL = {
    "equal_error_rate": (
        "no interval: it hangs on how dense the scores are at one threshold, which few groups "
        "don't tell"
    ),
    "expected_calibration_error": (
        "no interval: chance alone makes it larger, the more so the fewer images there are"
    ),
}


@dataclass(frozen=True)
class Metric:
    """A row of the metric table.

    Attributes:
        metric: Its name.
        subset: The subset that it was measured on.
        level: `image`, or `source` (logits averaged over each source).
        class_name: `fake` or `real`, or a kind of fake by its class folder; None for both classes.
        value: In [0, 1], or a count, or log loss in nats; not a number where it is undefined.
        low: Lower end of its confidence interval; not a number where it has none.
        high: Upper end.
        n: Images or sources that it rests on.
        note: Why it is undefined or has no interval, or what its subset also decided.
    """

    metric: str
    subset: str
    level: str
    class_name: str | None
    value: float
    low: float
    high: float
    n: int
    note: str | None = None


@dataclass(frozen=True)
class Scored:
    """What metrics are computed of: one subset at one level.

    Attributes:
        labels: int64, [n]: 1 fake, 0 real.
        predicted: int64, [n]: the same, as the detector calls them.
        logits: float64, [n]: fake minus real, divided by the temperature.
        groups: [n]: the group of each row.
        kinds: [n]: the class folder of each row.
        level: `image` or `source`, for reasons.
    """

    labels: np.ndarray[Any, np.dtype[np.int64]]
    predicted: np.ndarray[Any, np.dtype[np.int64]]
    logits: Floats
    groups: np.ndarray[Any, Any]
    kinds: np.ndarray[Any, Any]
    level: str

    @classmethod
    def of(cls, rows: pd.DataFrame, level: str, temperature: float) -> "Scored":
        """From a table with columns class_name, label, group, logit, predicted."""
        return cls(
            rows["label"].to_numpy(),
            rows["predicted"].to_numpy(),
            rows["logit"].to_numpy(dtype=np.float64) / temperature,
            rows["group"].to_numpy(),
            rows["class_name"].to_numpy(),
            level,
        )

    @property
    def probabilities(self) -> Floats:
        """Fake probabilities: float64, [n]."""
        return np.asarray(expit(self.logits))

    @property
    def right(self) -> Floats:
        """1 where a row was called what it is, else 0: float64, [n]."""
        return np.asarray(self.labels == self.predicted, dtype=np.float64)

    @property
    def losses(self) -> Floats:
        """Cross-entropy of each row in nats, finite however sure the detector is: float64, [n]."""
        return np.asarray(np.logaddexp(0, np.where(self.labels == 1, -self.logits, self.logits)))

    @property
    def squared_errors(self) -> Floats:
        """Squared distance of each probability from its label, in [0, 1]: float64, [n]."""
        return np.asarray((self.probabilities - self.labels) ** 2)

    @property
    def only_class(self) -> str | None:
        """Why what compares both classes is undefined; None if both are there."""
        if len(np.unique(self.labels)) == 1:
            return f"all are {CLASS_NAMES[self.labels[0]]}"
        return None

    @property
    def no_order(self) -> str | None:
        """Why what judges the order of scores is undefined; None if there is an order."""
        return self.only_class or ("all scores are equal" if np.ptp(self.logits) == 0 else None)

    @property
    def groups_of_smaller_class(self) -> int:
        """Groups of the class that has fewer."""
        return min(len(np.unique(self.groups[self.labels == each])) for each in (0, 1))


@dataclass(frozen=True)
class Measured:
    """A metric of one subset at one level, before its interval.

    Attributes:
        metric: Its name.
        class_name: As in `Metric`.
        value: Not a number where `reason` says why.
        n: Images or sources that it rests on.
        influence: Of each row on it, float64, [all rows]; None where it has no interval.
        counts: Rows that play a part in it, bool, [all rows].
        known_by: Groups that agree where nothing varies; all that count, if None.
        reason: Why it is undefined or has no interval.
    """

    metric: str
    class_name: str | None
    value: float
    n: int
    influence: Floats | None = None
    counts: np.ndarray[Any, np.dtype[np.bool_]] | None = None
    known_by: int | None = None
    reason: str | None = None

    def interval(self, groups: np.ndarray[Any, Any], confidence: float) -> tuple[float, float]:
        """Its interval; not a number where it has none."""
        if self.influence is None:
            return UNKNOWN
        counts = np.ones(len(groups), dtype=bool) if self.counts is None else self.counts
        influence, groups = self.influence[counts], groups[counts]
        given = (self.value, influence, groups, confidence)
        if self.metric == "log_loss":
            return positive_interval(*given)
        if self.metric in _AREAS:
            return area_interval(*given, known_by=self.known_by)
        counted = self.metric != "brier_score"
        return interval(*given, counted=counted, known_by=self.known_by)


def average_over_sources(
    predictions: pd.DataFrame, threshold: float, temperature: float
) -> pd.DataFrame:
    """One row for each source and subset: the mean logit, and what follows from it.

    Args:
        predictions: Columns source, group, subset, class_name, label, logit.
        threshold: From this probability on, a source is called fake.
        temperature: Logits are divided by it.
    """
    keys = ["subset", "class_name", "label", "source"]
    grouped = predictions.groupby(keys, sort=False, as_index=False)
    # a pattern may put images of one source into several groups; the first then stands for it
    sources = grouped.agg(logit=("logit", "mean"), group=("group", "first"))
    probability = expit(sources["logit"] / temperature)
    return sources.assign(
        fake_probability=probability, predicted=(probability >= threshold).astype("int64")
    )


def measure(
    rows: pd.DataFrame,
    subset: str,
    level: str,
    *,
    confidence: float,
    calibration_bins: int,
    temperature: float,
) -> Iterator[Metric]:
    """All metrics of one subset at one level.

    Args:
        rows: Columns class_name, label, group, logit, predicted; a row for each image, or source.
        subset: Name of the subset.
        level: `image` or `source`.
        confidence: Of the intervals, such as 0.95.
        calibration_bins: Of the expected calibration error.
        temperature: Logits are divided by it.
    """
    scored = Scored.of(rows, level, temperature)
    for each in (
        *_measure_verdicts(scored),
        *_measure_order(scored),
        *measure_probabilities(scored),
        _calibration_error(scored, calibration_bins),
        *_measure_classes(scored),
        *_count(scored),
    ):
        ends = each.interval(scored.groups, confidence)
        yield Metric(
            each.metric, subset, level, each.class_name, each.value, *ends, each.n, each.reason
        )


def measure_comparable(scored: Scored) -> Iterator[Measured]:
    """The metrics of which two detectors' differences have intervals."""
    yield from _measure_verdicts(scored)
    yield _area_under_roc(scored)
    yield from measure_probabilities(scored)
    yield from _measure_recalls(scored)


def _share(
    metric: str, name: str | None, part: Any, whole: Any, n: int, reason: str | None = None
) -> Measured:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    if whole.sum() == 0:
        return Measured(metric, name, math.nan, n, reason=reason)
    value = float(part.sum() / whole.sum())
    return Measured(metric, name, value, n, share_influence(part, whole), whole > 0)


def _measure_verdicts(scored: Scored) -> Iterator[Measured]:
    labels, total = scored.labels, len(scored.labels)
    yield _share("accuracy", None, scored.right, np.ones(total), total)
    if reason := scored.only_class:
        yield Measured("balanced_accuracy", None, math.nan, total, reason=reason)
        return
    value = float(np.mean([scored.right[labels == each].mean() for each in (0, 1)]))
    yield Measured(
        "balanced_accuracy", None, value, total,
        balanced_accuracy_influence(labels, scored.right), known_by=scored.groups_of_smaller_class,
    )  # fmt: skip


def _measure_order(scored: Scored) -> Iterator[Measured]:
    labels, logits, total = scored.labels, scored.logits, len(scored.labels)
    yield _area_under_roc(scored)
    if reason := scored.no_order:
        for name in ("average_precision", "equal_error_rate"):
            yield Measured(name, None, math.nan, total, reason=reason)
        return
    yield Measured(
        "average_precision", None, float(average_precision_score(labels, logits)), total,
        average_precision_influence(labels, logits), known_by=scored.groups_of_smaller_class,
    )  # fmt: skip
    rate = equal_error_rate(labels, logits)
    reason = _NO_INTERVAL["equal_error_rate"]
    yield Measured("equal_error_rate", None, rate, total, reason=reason)


def _area_under_roc(scored: Scored) -> Measured:
    labels, logits, total = scored.labels, scored.logits, len(scored.labels)
    if reason := scored.no_order:
        return Measured("roc_auc", None, math.nan, total, reason=reason)
    return Measured(
        "roc_auc", None, float(roc_auc_score(labels, logits)), total,
        roc_auc_influence(labels, logits), known_by=scored.groups_of_smaller_class,
    )  # fmt: skip


def equal_error_rate(labels: np.ndarray[Any, Any], scores: Floats) -> float:
    """The rate at which false positives and false negatives are equally frequent.

    The ROC curve is interpolated linearly.

    Args:
        labels: 1 fake, 0 real, [n]; both are there.
        scores: Higher for fake, [n].

    Returns:
        The share of real ones called fake, which is that of fakes called real, in [0, 1].
    """
    false_positives, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    # from −1 where nothing is called fake to 1 where everything is, never falling
    surplus = false_positives - (1 - found)
    after = int(np.argmax(surplus >= 0))
    before = after - 1
    step = -surplus[before] / (surplus[after] - surplus[before])
    return float(
        false_positives[before] + step * (false_positives[after] - false_positives[before])
    )


def measure_probabilities(scored: Scored) -> Iterator[Measured]:
    """Log loss in nats, and the Brier score: the mean squared error of the fake probability."""
    ones, total = np.ones(len(scored.labels)), len(scored.labels)
    yield _share("log_loss", None, scored.losses, ones, total)
    yield _share("brier_score", None, scored.squared_errors, ones, total)


def _calibration_error(scored: Scored, bins: int) -> Measured:
    name = "expected_calibration_error"
    value = expected_calibration_error(scored.labels, scored.probabilities, bins)
    return Measured(name, None, value, len(scored.labels), reason=_NO_INTERVAL[name])


def expected_calibration_error(
    labels: np.ndarray[Any, Any], probabilities: Floats, bins: int
) -> float:
    """How far fake probabilities lie from the share of fakes among images with about that one.

    Naeini et al. 2015, as in scikit-learn's calibration_curve: bins of equal width over the fake
    probability. (Guo et al. 2017 bin the probability of whatever class was called instead.)

    Args:
        labels: 1 fake, 0 real, [n].
        probabilities: Of fake, [n].
        bins: How many; of [0, 1], each closed above, the first also below.

    Returns:
        The mean over bins, weighted by their images, of |mean probability − share of fakes|.
    """
    places = place_in_bins(probabilities, bins)
    surplus = np.bincount(places, weights=probabilities - labels, minlength=bins)
    return float(np.abs(surplus).sum() / len(labels))


def place_in_bins(probabilities: Floats, bins: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """In which of the bins of the expected calibration error each probability lies, from 0: [n].

    Args:
        probabilities: In [0, 1], [n].
        bins: How many of equal width; each is closed above, the first also below.
    """
    return np.asarray(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities))


def _measure_classes(scored: Scored) -> Iterator[Measured]:
    labels, predicted, level = scored.labels, scored.predicted, scored.level
    of_fake, of_real, *of_kinds = _measure_recalls(scored)
    for index, recall in ((1, of_fake), (0, of_real)):
        name = CLASS_NAMES[index]
        there, called = labels == index, predicted == index
        right = there & called
        none_called, none_there = f"no {level} was called {name}", f"there are no {name} {level}s"
        yield _share("precision", name, right, called, int(called.sum()), none_called)
        yield recall
        both = there.astype(int) + called.astype(int)
        yield _share("f1", name, 2 * right, both, len(labels), f"{none_there} and {none_called}")
    yield from of_kinds


def _measure_recalls(scored: Scored) -> Iterator[Measured]:
    labels, right, level = scored.labels, scored.right, scored.level
    for index in (1, 0):
        name, there = CLASS_NAMES[index], labels == index
        reason = f"there are no {name} {level}s"
        yield _share("recall", name, right * there, there, int(there.sum()), reason)
    for kind in sorted(set(scored.kinds[labels == 1])):
        there = (scored.kinds == kind) & (labels == 1)
        yield _share("recall_of_kind", str(kind), right * there, there, int(there.sum()))


def _count(scored: Scored) -> Iterator[Measured]:
    matrix = confusion_matrix(scored.labels, scored.predicted, labels=[0, 1])
    for name, count in zip(COUNTS, matrix.ravel(), strict=True):
        yield Measured(name, None, float(count), len(scored.labels))
