"""Metrics of predictions, at image and at source level.

Fake is the positive class; precision, recall and F1 are given for both classes, by name.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score

CLASS_NAMES = ("real", "fake")
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
        n: Images or sources that it rests on.
        note: Why it is undefined, or what its subset also decided.
    """

    metric: str
    subset: str
    level: str
    class_name: str | None
    value: float
    n: int
    note: str | None = None


def average_over_sources(
    predictions: pd.DataFrame, threshold: float, temperature: float
) -> pd.DataFrame:
    """One row for each source and subset: the mean logit, and what follows from it.

    Args:
        predictions: Columns source, subset, class_name, label, logit.
        threshold: From this probability on, a source is called fake.
        temperature: Logits are divided by it.
    """
    keys = ["subset", "class_name", "label", "source"]
    sources = predictions.groupby(keys, sort=False, as_index=False)["logit"].mean()
    probability = expit(sources["logit"] / temperature)
    return sources.assign(
        fake_probability=probability, predicted=(probability >= threshold).astype("int64")
    )


def measure(rows: pd.DataFrame, subset: str, level: str) -> Iterator[Metric]:
    """All metrics of one subset at one level.

    Args:
        rows: Columns class_name, label, logit, predicted; one row for each image, or source.
        subset: Name of the subset.
        level: `image` or `source`.
    """
    labels, predicted = rows["label"].to_numpy(), rows["predicted"].to_numpy()
    matrix = confusion_matrix(labels, predicted, labels=[0, 1])
    total = len(rows)

    yield Metric("accuracy", subset, level, None, float((labels == predicted).mean()), total)
    auc, reason = _area_under_roc(labels, rows["logit"].to_numpy())
    yield Metric("roc_auc", subset, level, None, auc, total, reason)

    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=[0, 1], zero_division=np.nan
    )
    for index in (1, 0):
        name = CLASS_NAMES[index]
        called, there = int(matrix[:, index].sum()), int(support[index])
        unit = f"{level}s"
        none_called = f"no {level} was called {name}" if called == 0 else None
        none_there = f"there are no {name} {unit}" if there == 0 else None
        yield Metric("precision", subset, level, name, float(precision[index]), called, none_called)
        yield Metric("recall", subset, level, name, float(recall[index]), there, none_there)
        neither = none_there if called + there == 0 else None
        yield Metric("f1", subset, level, name, float(f1[index]), total, neither)

    fakes = rows[rows["label"] == 1]
    for kind, of_kind in fakes.groupby("class_name", sort=True):
        found = float(of_kind["predicted"].mean())
        yield Metric("recall", subset, level, str(kind), found, len(of_kind))

    for name, count in zip(COUNTS, matrix.ravel(), strict=True):
        yield Metric(name, subset, level, None, float(count), total)


def _area_under_roc(labels: np.ndarray, logits: np.ndarray) -> tuple[float, str | None]:
    if len(np.unique(labels)) == 1:
        return math.nan, f"all are {CLASS_NAMES[labels[0]]}"
    if np.ptp(logits) == 0:
        return math.nan, "all scores are equal"
    return float(roc_auc_score(labels, logits)), None
