"""What a detector loses on other images than its own: differences between two sets of images."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.intervals import UNKNOWN
from deepfake_detection.metrics.metrics import measure_comparable
from deepfake_detection.metrics.scored import Scored

# Sets hold other kinds of fake, so that scores of kinds, and their means, are not compared
_METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss", "brier_score", "recall")


@dataclass(frozen=True)
class Drop:
    """A row of the table of drops: a metric elsewhere, on the own set, and the difference.

    `difference` is `value` minus `own_value`: below 0 where a share is lower elsewhere. All three
    and the interval are NaN where a metric is undefined in one of the sets.
    """

    metric: str
    level: str
    class_name: str | None
    value: float
    own_value: float
    difference: float
    low: float
    high: float
    n: int
    own_n: int
    note: str | None = None


def measure_drops(
    own: pd.DataFrame, elsewhere: pd.DataFrame, temperature: float, level: str, confidence: float
) -> Iterator[Drop]:
    """The metrics of one detector elsewhere minus those on its own set, with intervals.

    The sets are independent: groups of one name in both are taken for different ones. An interval
    is Newcombe's (1998) hybrid score interval, out of the interval of each of the two values (MOVER
    of Zou and Donner 2008), so that it holds near 1 too.

    Both tables are as in `measure`, of one subset each.

    Raises:
        UserError: If an image is in both sets, by `sha256` where both tables have it.
    """
    _check_apart(own, elsewhere)
    ours, theirs = (Scored.of(rows, level, temperature) for rows in (own, elsewhere))
    for one, other in zip(
        *([each for each in measure_comparable(scored) if each.metric in _METRICS]
          for scored in (ours, theirs)),
        strict=True,
    ):  # fmt: skip
        ends = mover_interval(
            other.value, other.interval(theirs.groups, confidence),
            one.value, one.interval(ours.groups, confidence),
        )  # fmt: skip
        reasons = {"own set": one.reason, "elsewhere": other.reason}
        note = "; ".join(f"{where}: {reason}" for where, reason in reasons.items() if reason)
        if not note and math.isnan(ends[0]):
            note = "no interval: one of the sets has a single group"
        yield Drop(
            one.metric, level, one.class_name, other.value, one.value, other.value - one.value,
            *ends, other.n, one.n, note or None,
        )  # fmt: skip


def mover_interval(
    value: float, ends: tuple[float, float], other: float, other_ends: tuple[float, float]
) -> tuple[float, float]:
    """Interval of `value` minus `other`, two independent estimates, out of their own intervals.

    Each distance from an estimate to an end is taken for its error on that side (Newcombe 1998,
    method 10, for shares; Zou and Donner 2008 for any estimate).
    """
    if math.isnan(ends[0]) or math.isnan(other_ends[0]):
        return UNKNOWN
    difference = value - other
    down = math.hypot(value - ends[0], other_ends[1] - other)
    up = math.hypot(ends[1] - value, other - other_ends[0])
    return difference - down, difference + up


def _check_apart(own: pd.DataFrame, elsewhere: pd.DataFrame) -> None:
    if "sha256" not in own or "sha256" not in elsewhere:
        return
    both = elsewhere["sha256"].isin(own["sha256"])
    if both.any():
        raise UserError(
            f"{both.sum()} of the {len(elsewhere)} images of the set from elsewhere are also in "
            f"the detector's own set, the first being {elsewhere.loc[both, 'path'].iloc[0]}: "
            "take them out of the folder"
        )
