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
from sklearn.metrics import confusion_matrix, roc_auc_score

from deepfake_detection.detector.detector import CLASS_NAMES
from deepfake_detection.pipelines.evaluation.intervals import (
    UNKNOWN,
    interval,
    roc_auc_influence,
    share_influence,
)

COUNTS = ("reals_passed", "false_alarms", "missed_fakes", "fakes_found")


@dataclass(frozen=True)
class Metric:
    """A row of the metric table.

    Attributes:
        metric: Its name.
        subset: The subset that it was measured on.
        level: `image`, or `source` (logits averaged over each source).
        class_name: `fake` or `real`, or a kind of fake by its class folder; None for both classes.
        value: In [0, 1], or a count; not a number where it is undefined.
        low: Lower end of its confidence interval; not a number for a count.
        high: Upper end.
        n: Images or sources that it rests on.
        note: Why it is undefined, or what its subset also decided.
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


def measure(rows: pd.DataFrame, subset: str, level: str, confidence: float) -> Iterator[Metric]:
    """All metrics of one subset at one level.

    Args:
        rows: Columns class_name, label, group, logit, predicted; a row for each image, or source.
        subset: Name of the subset.
        level: `image` or `source`.
        confidence: Of the intervals, such as 0.95.
    """
    labels, predicted = rows["label"].to_numpy(), rows["predicted"].to_numpy()
    groups, total = rows["group"].to_numpy(), len(rows)

    def share(
        metric: str, name: str | None, part: Any, whole: Any, n: int, reason: str | None
    ) -> Metric:
        part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
        if whole.sum() == 0:
            return Metric(metric, subset, level, name, math.nan, *UNKNOWN, n, reason)
        value, counts = float(part.sum() / whole.sum()), whole > 0
        influence = share_influence(part, whole)[counts]
        ends = interval(value, influence, groups[counts], confidence)
        return Metric(metric, subset, level, name, value, *ends, n)

    yield share("accuracy", None, labels == predicted, np.ones(total), total, None)
    yield _area_under_roc(rows, subset, level, confidence)

    for index in (1, 0):
        name = CLASS_NAMES[index]
        there, called = labels == index, predicted == index
        right = there & called
        none_called, none_there = f"no {level} was called {name}", f"there are no {name} {level}s"
        yield share("precision", name, right, called, int(called.sum()), none_called)
        yield share("recall", name, right, there, int(there.sum()), none_there)
        both = there.astype(int) + called.astype(int)
        yield share("f1", name, 2 * right, both, total, f"{none_there} and {none_called}")

    for kind in sorted(rows.loc[labels == 1, "class_name"].unique()):
        of_kind = (rows["class_name"] == kind).to_numpy()
        found = of_kind & (predicted == 1)
        yield share("recall_of_kind", str(kind), found, of_kind, int(of_kind.sum()), None)

    matrix = confusion_matrix(labels, predicted, labels=[0, 1])
    for name, count in zip(COUNTS, matrix.ravel(), strict=True):
        yield Metric(name, subset, level, None, float(count), *UNKNOWN, total)


def _area_under_roc(rows: pd.DataFrame, subset: str, level: str, confidence: float) -> Metric:
    labels, logits = rows["label"].to_numpy(), rows["logit"].to_numpy()
    reason = None
    if len(np.unique(labels)) == 1:
        reason = f"all are {CLASS_NAMES[labels[0]]}"
    elif np.ptp(logits) == 0:
        reason = "all scores are equal"
    if reason:
        return Metric("roc_auc", subset, level, None, math.nan, *UNKNOWN, len(rows), reason)
    value = float(roc_auc_score(labels, logits))
    influence = roc_auc_influence(labels, logits)
    ends = interval(value, influence, rows["group"].to_numpy(), confidence)
    return Metric("roc_auc", subset, level, None, value, *ends, len(rows))
