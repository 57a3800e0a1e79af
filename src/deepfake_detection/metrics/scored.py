"""What is measured: the scored rows of one subset, and metrics before their intervals."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake_detection.metrics.intervals import (
    UNKNOWN,
    Floats,
    Groups,
    Labels,
    area_interval,
    interval,
    positive_interval,
    share_influence,
)
from deepfake_detection.models.detector import CLASS_NAMES

# Of each kind of fake (its ROC AUC is against all real ones), and the means over several kinds
RECALL_OF_KIND, AUC_OF_KIND = "recall_of_kind", "roc_auc_of_kind"
MEAN_RECALL, MEAN_AUC = "mean_recall_of_kinds", "mean_roc_auc_of_kinds"
# The mean is the ROC AUC of telling the images from the detector's validation images
UNLIKENESS = "unlikeness"
_AREAS = ("roc_auc", "average_precision", AUC_OF_KIND, MEAN_AUC)


@dataclass(frozen=True)
class Metric:
    """A row of the metric table.

    Attributes:
        level: `image`, or `source` (see `SourceScore`).
        class_name: `fake` or `real`, or a kind of fake by its class folder; None for both classes.
        value: In [0, 1], or a count, or log loss in nats; NaN where it is undefined.
        low: Lower end of its confidence interval; NaN where it has none.
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
    """One subset at one level: logits divided by the temperature, kinds are class folders; [n].

    Without `has_scale` only the order of the logits means something.
    """

    labels: Labels
    predicted: Labels
    logits: Floats
    groups: Groups
    kinds: np.ndarray[Any, Any]
    level: str
    verdicts: np.ndarray[Any, Any] | None = None
    unlikeness: Floats | None = None
    has_scale: bool = True

    @classmethod
    def of(cls, rows: pd.DataFrame, level: str, temperature: float) -> "Scored":
        """From a table with columns class_name, label, group, logit, predicted.

        It may also have verdict, and unlikeness, which is left out where it is unknown. Where
        predicted is NaN, the scores have no known scale.
        """
        names = ("label", "predicted", "logit", "group", "class_name")
        labels, predicted, logits, groups, kinds = (rows[name].to_numpy() for name in names)
        logits = logits.astype(np.float64) / temperature
        if not (has_scale := not np.isnan(predicted.astype(np.float64)).any()):
            predicted = np.zeros(len(rows), dtype=np.int64)
        unlikeness = rows["unlikeness"].to_numpy(np.float64) if "unlikeness" in rows else None
        if unlikeness is not None and np.isnan(unlikeness).any():
            unlikeness = None
        verdicts = rows["verdict"].to_numpy() if "verdict" in rows else None
        return cls(
            labels, predicted, logits, groups, kinds, level, verdicts, unlikeness, has_scale
        )  # fmt: skip

    def take(self, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> "Scored":
        """Only these rows."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        taken = {k: v[rows] for k, v in values.items() if isinstance(v, np.ndarray)}
        return replace(self, **taken)

    @property
    def fake_kinds(self) -> list[str]:
        """The class folders of the fakes."""
        return sorted(set(self.kinds[self.labels == 1]))

    @property
    def probabilities(self) -> Floats:
        """Of fake."""
        return np.asarray(expit(self.logits))

    @property
    def right(self) -> Floats:
        """1 where a row was called what it is, else 0."""
        return np.asarray(self.labels == self.predicted, dtype=np.float64)

    @property
    def only_class(self) -> str | None:
        """Why what compares both classes is undefined; None if both are there."""
        one = len(np.unique(self.labels)) == 1
        return f"all are {CLASS_NAMES[self.labels[0]]}" if one else None

    @property
    def no_order(self) -> str | None:
        """Why what judges the order of scores is undefined; None if there is an order."""
        return self.only_class or ("all scores are equal" if np.ptp(self.logits) == 0 else None)


@dataclass(frozen=True)
class Measured:
    """A metric of one subset at one level, as in `Metric`, before its interval.

    Attributes:
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

    def counted(self, influence: Floats, groups: Groups) -> tuple[Floats, Groups]:
        """Influences and groups of the rows that play a part in it."""
        counts = slice(None) if self.counts is None else self.counts
        return influence[counts], groups[counts]

    def interval(
        self, groups: Groups, confidence: float, times: float = 1.0
    ) -> tuple[float, float]:
        """Its interval, or that of `times` as many groups; not a number where it has none."""
        if self.influence is None:
            return UNKNOWN
        given = (self.value, *self.counted(self.influence, groups), confidence)
        if self.metric == "log_loss":
            return positive_interval(*given, times=times)
        if self.metric in _AREAS:
            return area_interval(*given, known_by=self.known_by, times=times)
        counted = self.metric not in ("brier_score", UNLIKENESS)
        return interval(*given, counted=counted, known_by=self.known_by, times=times)


def share(
    metric: str, name: str | None, part: Any, whole: Any, n: int, reason: str | None = None
) -> Measured:
    """Σ part / Σ whole of `n` rows; undefined, with the reason, where the whole is 0."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    if whole.sum() == 0:
        return Measured(metric, name, math.nan, n, reason=reason)
    value = float(part.sum() / whole.sum())
    return Measured(metric, name, value, n, share_influence(part, whole), whole > 0)


def mean(metric: str, values: Floats) -> Measured:
    """The mean over all rows."""
    return share(metric, None, values, np.ones(len(values)), len(values))
