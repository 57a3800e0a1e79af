"""Differences of metrics between two scorings of the same images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfake_detection.metrics.intervals import UNKNOWN, difference_interval, sum_over_groups
from deepfake_detection.metrics.metrics import measure_comparable
from deepfake_detection.metrics.scored import Scored


@dataclass(frozen=True)
class Difference:
    """A row of the table of differences; columns as in `Metric`, the interval is the difference's.

    `difference` is `value` minus `other_value`. `differing_groups` counts the groups whose sum of
    influences differs between the two; few say that the interval is rough.
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
    for one, other in zip(measure_comparable(scored), measure_comparable(rescored), strict=True):
        difference, ends, differing = one.value - other.value, UNKNOWN, 0
        reason = one.reason or other.reason
        if one.influence is not None and other.influence is not None:
            influence, groups = one.counted(one.influence - other.influence, scored.groups)
            ends = difference_interval(difference, influence, groups, confidence)
            # the influences of two unequal scores may cancel out but for their rounding
            differing = int((np.abs(sum_over_groups(influence, groups)) > 1e-12).sum())
            if math.isnan(ends[0]):
                reason = "no interval: there is one group, or no group tells the two apart"
            elif one.metric != "log_loss":
                ends = max(ends[0], -1.0), min(ends[1], 1.0)
        yield Difference(
            one.metric, subset, level, one.class_name, one.value, other.value, difference,
            *ends, one.n, differing, reason,
        )  # fmt: skip
