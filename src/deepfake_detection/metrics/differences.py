"""Differences of metrics between two scorings of the same images."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfake_detection.metrics.intervals import (
    UNKNOWN,
    Floats,
    Groups,
    difference_interval,
    difference_p_value,
    sum_over_groups,
)
from deepfake_detection.metrics.metrics import measure_comparable
from deepfake_detection.metrics.scored import Measured, Scored

_NO_INTERVAL = "no interval: there is one group, or no group tells the two apart"


@dataclass(frozen=True)
class Difference:
    """A row of the table of differences; columns as in `Metric`, the interval is the difference's.

    `difference` is `value` minus `other_value`. `p_value` is that of no difference, in [0, 1]:
    below 1 − confidence where the interval leaves out 0, NaN where there is none.
    `differing_groups` counts the groups whose sum of influences differs between the two; few say
    that the interval is rough.
    """

    metric: str
    subset: str
    level: str
    class_name: str | None
    value: float
    other_value: float
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    differing_groups: int
    note: str | None = None


def measure_differences(
    ours: pd.DataFrame,
    others: pd.DataFrame,
    temperatures: tuple[float, float],
    subset: str,
    level: str,
    confidence: float,
) -> Iterator[Difference]:
    """The metrics of two scorings of the same images, and their differences with intervals.

    Two detectors may have scored them, or one detector two renditions of them. The influence of a
    row on a difference is that on one metric minus that on the other, so that what makes an image
    hard for both cancels out. Intervals are taken between groups.

    Both tables are as in `measure`, with the same rows.
    """
    scored, rescored = (
        Scored.of(rows, level, temperature)
        for rows, temperature in zip((ours, others), temperatures, strict=True)
    )
    measured, again = (list(measure_comparable(each)) for each in (scored, rescored))
    yield from compare_measured(measured, again, scored.groups, subset, level, confidence)


def compare_measured(
    ours: Sequence[Measured],
    others: Sequence[Measured],
    groups: Groups,
    subset: str,
    level: str,
    confidence: float,
) -> Iterator[Difference]:
    """The differences of `measure_differences`, of metrics that were measured before."""
    # as numbers, which sort quicker than names
    groups = np.unique(groups, return_inverse=True)[1]
    for one, other in zip(ours, others, strict=True):
        difference, ends, p_value, differing = one.value - other.value, UNKNOWN, math.nan, 0
        reason = one.reason or other.reason
        if one.influence is not None and other.influence is not None:
            influences = one.counted(one.influence - other.influence, groups)
            ends, p_value, differing = _compare(difference, *influences, confidence)
            if math.isnan(ends[0]):
                reason = _NO_INTERVAL
            elif one.metric != "log_loss":
                ends = max(ends[0], -1.0), min(ends[1], 1.0)
        yield Difference(
            one.metric, subset, level, one.class_name, one.value, other.value, difference,
            *ends, p_value, one.n, differing, reason,
        )  # fmt: skip


def measure_over_runs(
    pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]], metric: str, subset: str, confidence: float
) -> Difference:
    """The difference of `accuracy` or `roc_auc` between two recipes, each trained several times.

    Each pair is scored by a run of each on the same rows, as in `measure`. Accuracy is that of all
    pairs together. ROC AUC is the mean over pairs with both classes, since unlike detectors have no
    common scale. Intervals are between groups, for these runs.
    """
    if metric == "accuracy":
        ours, others = zip(*pairs, strict=True)
        pairs = [(pd.concat(ours), pd.concat(others))]
    found = []
    for pair in pairs:
        scored = [Scored.of(rows, "image", 1.0) for rows in pair]
        one, other = (
            next(each for each in measure_comparable(rows) if each.metric == metric)
            for rows in scored
        )
        if one.influence is not None and other.influence is not None:
            influence = (one.influence - other.influence, scored[0].groups)
            found.append((one.value, other.value, *influence))
    n = sum(len(ours) for ours, _ in pairs)
    if not found:
        unknown = (math.nan,) * 6
        return Difference(metric, subset, "image", None, *unknown, n, 0, one.reason or other.reason)
    values, other_values, influences, groups = zip(*found, strict=True)
    value, other_value = float(np.mean(values)), float(np.mean(other_values))
    ends, p_value, differing = _compare(
        value - other_value, np.concatenate(influences) / len(found), np.concatenate(groups),
        confidence,
    )  # fmt: skip
    reason = _NO_INTERVAL if math.isnan(ends[0]) else None
    return Difference(
        metric, subset, "image", None, value, other_value, value - other_value,
        max(ends[0], -1.0), min(ends[1], 1.0), p_value, n, differing, reason,
    )  # fmt: skip


def _compare(
    difference: float, influence: Floats, groups: Groups, confidence: float
) -> tuple[tuple[float, float], float, int]:
    """The interval, the p-value, and the number of groups that tell the two apart."""
    ends = difference_interval(difference, influence, groups, confidence)
    p_value = difference_p_value(difference, influence, groups)
    # the influences of two unequal scores may cancel out but for their rounding
    return ends, p_value, int((np.abs(sum_over_groups(influence, groups)) > 1e-12).sum())
