"""How many groups a sample needs for a narrow interval, or to tell two detectors apart."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deepfake_detection.metrics.intervals import (
    Floats,
    Groups,
    detectable_difference,
    sum_over_groups,
)
from deepfake_detection.metrics.metrics import measure_comparable
from deepfake_detection.metrics.scored import Measured, Scored

_WIDTHS, _DIFFERENCES = ("accuracy", "roc_auc", "recall"), ("roc_auc", "accuracy")
_MOST_GROUPS = 10**9
_AGREED = "all groups agree: planned as if each were one independent observation"
_NOTHING_VARIES = "nothing varies between groups"
INDEPENDENT = (
    "as if the errors of both were independent, which asks for more groups than two detectors that "
    "find the same images hard"
)


@dataclass(frozen=True)
class SampleSize:
    """A row of the table of sample sizes, by image.

    Attributes:
        purpose: `width`, of an interval from end to end, or `difference`, between two detectors.
        wanted: That width, or true difference.
        now: The width, or the difference found with the wanted power, of the sample at hand.
        groups: That are needed in a sample like this one; for a recall, those with images of its
            class. None where they cannot be told.
        images: In these groups, if they have as many images as now.
        design_effect: Variance between groups, as a multiple of that of independent images.
    """

    purpose: str
    metric: str
    class_name: str | None
    detector: str
    other_detector: str | None
    wanted: float
    now: float
    groups_now: int
    images_now: int
    groups: int | None
    images: int | None
    design_effect: float
    note: str | None = None


def plan_widths(
    rows: pd.DataFrame, detector: str, widths: Sequence[float], confidence: float
) -> Iterator[SampleSize]:
    """The groups at which the intervals of accuracy, ROC AUC and both recalls are this wide.

    The interval is that of `measure`, with the variance between groups seen here. The table is as
    in `measure`.
    """
    scored = Scored.of(rows, "image", 1.0)
    for measured in measure_comparable(scored):
        if measured.metric not in _WIDTHS:
            continue
        groups, known = scored.groups, measured
        if measured.influence is not None:
            influence, groups = _numbered(measured, measured.influence, groups)
            known = replace(measured, influence=influence, counts=None)

        def width(times: float, known: Measured = known, groups: Groups = groups) -> float:
            low, high = known.interval(groups, confidence, times)
            return high - low

        agreed = _AGREED if measured.value in (0.0, 1.0) else None
        note = measured.reason or agreed
        names = ("width", measured.metric, measured.class_name, detector, None)
        yield from _plan(names, width, known.influence, groups, widths, note)


def plan_differences(
    pair: tuple[pd.DataFrame, pd.DataFrame] | tuple[pd.DataFrame],
    names: tuple[str, str | None],
    differences: Sequence[float],
    power: float,
    confidence: float,
) -> Iterator[SampleSize]:
    """The groups at which a true difference of ROC AUC or accuracy is found with this power.

    It is found where the interval of `measure_differences` leaves out 0. The tables, as there, have
    the same rows. From one table alone: as if the other detector were as good, and the errors of
    both independent.
    """
    scored = [Scored.of(rows, "image", 1.0) for rows in pair]
    found = [
        {each.metric: each for each in measure_comparable(rows) if each.metric in _DIFFERENCES}
        for rows in scored
    ]
    for metric in _DIFFERENCES:
        one, other = found[0][metric], found[-1][metric]
        note = one.reason or other.reason or (None if len(pair) > 1 else INDEPENDENT)
        influence, groups = None, scored[0].groups
        difference = one.value - other.value
        if one.influence is not None and other.influence is not None:
            both = one.influence - other.influence
            if len(pair) == 1:
                # the variance of a difference of two independent values is twice that of one
                both, difference = math.sqrt(2) * one.influence, one.value
            influence, groups = _numbered(one, both, groups)

        def detectable(
            times: float,
            influence: Floats | None = influence,
            groups: Groups = groups,
            difference: float = difference,
        ) -> float:
            if influence is None:
                return math.nan
            return detectable_difference(difference, influence, groups, confidence, power, times)

        if influence is not None and math.isnan(detectable(1.0)):
            note = _NOTHING_VARIES
        yield from _plan(
            ("difference", metric, None, *names), detectable, influence, groups, differences, note
        )


def find_groups(figure: Callable[[float], float], groups_now: int, wanted: float) -> int | None:
    """The fewest groups, from 2, at which a figure is at most the wanted one.

    `figure` falls with the number of groups, given as a multiple of those at hand. None where it is
    NaN, or still larger at 10⁹ groups.
    """
    if math.isnan(figure(1.0)) or figure(_MOST_GROUPS / groups_now) > wanted:
        return None
    low, high = 1, _MOST_GROUPS
    while high - low > 1:
        middle = (low + high) // 2
        if figure(middle / groups_now) <= wanted:
            high = middle
        else:
            low = middle
    return high


def _plan(
    names: tuple[str, str, str | None, str, str | None],
    figure: Callable[[float], float],
    influence: Floats | None,
    groups: Groups,
    wanted: Sequence[float],
    note: str | None,
) -> Iterator[SampleSize]:
    images_now, groups_now = len(groups), len(np.unique(groups))
    effect = math.nan if influence is None else _design_effect(influence, groups)
    for each in wanted:
        needed = None if influence is None else find_groups(figure, groups_now, each)
        images = None if needed is None else math.ceil(needed * images_now / groups_now)
        now = math.nan if influence is None else figure(1.0)
        yield SampleSize(*names, each, now, groups_now, images_now, needed, images, effect, note)


def _numbered(measured: Measured, influence: Floats, groups: Groups) -> tuple[Floats, Groups]:
    """Influences and groups of the rows that play a part; groups as numbers, which sort quickly."""
    counted, groups = measured.counted(influence, groups)
    return counted, np.unique(groups, return_inverse=True)[1]


def _design_effect(influence: Floats, groups: Groups) -> float:
    """Kish's (1965): NaN where nothing varies, or for one group."""
    sums, images = sum_over_groups(influence, groups), len(influence)
    independent = images / (images - 1) * float((influence**2).sum()) if images > 1 else 0.0
    if len(sums) < 2 or independent == 0:
        return math.nan
    return len(sums) / (len(sums) - 1) * float((sums**2).sum()) / independent
