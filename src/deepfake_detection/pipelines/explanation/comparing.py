"""Errors against right verdicts of the same class: which have more of a measure."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from deepfake_detection.metrics.cases import FALSE_KINDS, Kind, label_of
from deepfake_detection.metrics.intervals import UNKNOWN, area_interval, roc_auc_influence
from deepfake_detection.pipelines.explanation.region_statistics import WHOLE, MeasuredPicture
from deepfake_detection.reports.words import counted


@dataclass(frozen=True)
class Comparison:
    """A row of the table of the errors' measures.

    Attributes:
        label: Of the class: 1 fake, 0 real.
        kind: `false negative`, against detected fakes, or `false positive`, against accepted real
            images.
        region: `picture` (the whole), `eyes` or `mouth`.
        measure: As `ImageStatistics` defines it.
        false_median: Of the errors; NaN where there are none.
        right_median: Of the right verdicts.
        effect: Probability of superiority: that a random error has more of the measure than a
            random right verdict, ties counting half (McGraw and Wong 1992; Vargha and Delaney's
            A, 2000). 0.5 is no difference.
        low: Lower end of its interval between groups.
        high: Upper end.
        corrected_low: Lower end of the interval corrected for the number of comparisons
            (Bonferroni).
        corrected_high: Upper end.
        differs: `yes` if the corrected interval leaves out 0.5, `no`, or `too few`.
        n_false: Errors.
        n_right: Right verdicts.
        note: What the row must be read with.
    """

    label: int
    kind: Kind
    region: str
    measure: str
    false_median: float
    right_median: float
    effect: float
    low: float
    high: float
    corrected_low: float
    corrected_high: float
    differs: str
    n_false: int
    n_right: int
    note: str


@dataclass(frozen=True)
class _Sample:
    """The measured pictures of one class: which of them are errors, and their groups."""

    kind: Kind
    measured: list[MeasuredPicture]
    false: np.ndarray
    groups: np.ndarray
    note: str

    def is_enough(self, fewest_groups: int) -> bool:
        """Whether errors and right verdicts come from so many groups each."""
        return self.smaller_groups >= fewest_groups

    @cached_property
    def smaller_groups(self) -> int:
        """Groups of the errors or of the right verdicts, whichever are fewer."""
        return min(len(np.unique(self.groups[self.false == each])) for each in (True, False))


def compare_false_cases(
    scored: pd.DataFrame,
    measured: Sequence[MeasuredPicture | None],
    fewest_groups: int,
    confidence: float,
) -> pd.DataFrame:
    """Compare errors with right verdicts of the same class by each measure of each region.

    Args:
        scored: A row for each scored image: class_name, label, group, predicted.
        measured: The same images' measures, in the same order; None for one that cannot be read.
        fewest_groups: Groups of images that both must come from.
        confidence: Of the intervals, such as 0.95.

    Returns:
        Columns as in `Comparison`; no rows where no picture could be read.
    """
    samples = [_sample(scored, measured, kind) for kind in FALSE_KINDS]
    places = list(next((each.values for each in measured if each is not None), ()))
    compared = sum(len(places) for sample in samples if sample.is_enough(fewest_groups))
    levels = (confidence, 1 - (1 - confidence) / max(compared, 1))
    rows = [
        _compare(sample, region, measure, levels, sample.is_enough(fewest_groups))
        for sample in samples
        for region, measure in places
    ]
    said = (
        f"differs by the interval corrected for {compared} comparisons (Bonferroni: confidence "
        f"{levels[1]:.4f})" if compared else "nothing could be compared"
    )  # fmt: skip
    rows = [replace(row, note=f"{said}; {row.note}" if row.note else said) for row in rows]
    return pd.DataFrame([asdict(row) for row in rows], columns=list(Comparison.__annotations__))


def _sample(
    scored: pd.DataFrame, measured: Sequence[MeasuredPicture | None], kind: Kind
) -> _Sample:
    of_class = (scored["label"] == label_of(kind)).to_numpy()
    there = np.array([each is not None for each in measured], dtype=bool)
    rows = scored[of_class & there]
    kept = [each for each, ours in zip(measured, of_class, strict=True) if ours and each]
    notes = []
    if rows["class_name"].nunique() > 1:
        notes.append(f"{rows['class_name'].nunique()} class folders taken together")
    if lost := int((of_class & ~there).sum()):
        notes.append(f"{counted(lost, 'picture')} missing or unreadable, left out")
    false = (rows["predicted"] != rows["label"]).to_numpy()
    return _Sample(kind, kept, false, rows["group"].to_numpy(), "; ".join(notes))


def _compare(
    sample: _Sample, region: str, measure: str, levels: tuple[float, float], enough: bool
) -> Comparison:
    values = np.array([each.values[region, measure] for each in sample.measured], dtype=np.float64)
    false, right = values[sample.false], values[~sample.false]
    effect, ends, differs = math.nan, (UNKNOWN, UNKNOWN), "too few"
    if len(false) and len(right):
        effect = _probability_of_superiority(false, right)
    if enough:
        influence = roc_auc_influence(sample.false.astype(np.int64), values)
        known_by = sample.smaller_groups
        low, high = (
            area_interval(effect, influence, sample.groups, level, known_by=known_by)
            for level in levels
        )
        ends, differs = (low, high), "no" if high[0] <= 0.5 <= high[1] else "yes"
    return Comparison(
        label_of(sample.kind), sample.kind, region, measure, _median(false), _median(right), effect,
        *ends[0], *ends[1], differs, len(false), len(right), _note(sample, region, measure),
    )  # fmt: skip


def _probability_of_superiority(false: np.ndarray, right: np.ndarray) -> float:
    ordered = np.sort(right)
    below = np.searchsorted(ordered, false, "left") + np.searchsorted(ordered, false, "right")
    return float(below.mean() / 2 / len(right))


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else math.nan


def _note(sample: _Sample, region: str, measure: str) -> str:
    notes = [sample.note] if sample.note else []
    if region != WHOLE:
        notes.append("the region is the same part of every picture, wherever the face is")
    sizes = {each.size for each in sample.measured}
    if measure == "sharpness" and len(sizes) > 1:
        edges = [min(size) for size in sizes]
        notes.append(
            f"pictures are {min(edges)} to {max(edges)} pixels along their shorter side; enlarged "
            "pictures measure less sharp, so a difference may come from size"
        )
    return "; ".join(notes)
