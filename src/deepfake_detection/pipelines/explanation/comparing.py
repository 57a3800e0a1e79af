"""Errors against right verdicts of the same class: which have more of a measure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detection.images.region_statistics import WHOLE, MeasuredPicture
from deepfake_detection.metrics.cases import FALSE_KINDS, Kind, label_of
from deepfake_detection.metrics.intervals import UNKNOWN, area_interval, roc_auc_influence
from deepfake_detection.reports.words import counted

COLUMNS = [
    "label", "kind", "region", "measure", "false_median", "right_median", "effect", "low", "high",
    "corrected_low", "corrected_high", "differs", "n_false", "n_right", "note",
]  # fmt: skip

# The reference recipe's guesses about its errors: the guess, and the region and measure that should
# then be lower (-1) or higher (1) in the errors.
_GUESSES = {
    "false negative": (
        ("blurred", "picture", "sharpness", -1),
        ("dark", "picture", "brightness", -1),
        ("with unclear eyes", "eyes", "sharpness", -1),
    ),
    # No measure here sees an open mouth; teeth beside a dark gap raise the contrast
    "false positive": (("with open mouths (contrast)", "mouth", "contrast", 1),),
}


@dataclass(frozen=True)
class _Sample:
    """The measured pictures of one class: which of them are errors, and their groups."""

    kind: Kind
    measured: list[MeasuredPicture]
    false: np.ndarray
    groups: np.ndarray
    note: str

    @property
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
        A row for each kind of error, region and measure; none where no picture could be read:
        label; kind; region (`picture` for the whole); measure (see `ImageStatistics`);
        false_median, right_median (NaN where there are none); effect: the probability that a random
        error has more of the measure than a random right verdict, ties counting half (McGraw and
        Wong 1992; Vargha and Delaney's A, 2000); low, high: its interval between groups;
        corrected_low, corrected_high: the same, corrected for the number of comparisons
        (Bonferroni); differs: `yes` if that leaves out 0.5, `no`, or `too few`; n_false, n_right;
        note: what the row must be read with.
    """
    samples = [_sample(scored, measured, kind) for kind in FALSE_KINDS]
    places = list(next((each.values for each in measured if each is not None), ()))
    enough = [sample.smaller_groups >= fewest_groups for sample in samples]
    compared = len(places) * sum(enough)
    levels = (confidence, 1 - (1 - confidence) / max(compared, 1))
    said = (
        f"differs by the interval corrected for {compared} comparisons (Bonferroni: confidence "
        f"{levels[1]:.4f})" if compared else "nothing could be compared"
    )  # fmt: skip
    rows = [
        (*_compare(sample, *place, levels if known else ()), _note(said, sample, *place))
        for sample, known in zip(samples, enough, strict=True)
        for place in places
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


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
    sample: _Sample, region: str, measure: str, levels: tuple[float, ...]
) -> tuple[Any, ...]:
    """A row's columns up to n_right; without levels there are too few groups for an interval."""
    values = np.array([each.values[region, measure] for each in sample.measured], dtype=np.float64)
    false, right = values[sample.false], values[~sample.false]
    effect, ends, differs = math.nan, [UNKNOWN, UNKNOWN], "too few"
    if len(false) and len(right):
        ordered = np.sort(right)
        below = np.searchsorted(ordered, false, "left") + np.searchsorted(ordered, false, "right")
        effect = float(below.mean() / 2 / len(right))
    if levels:
        influence = roc_auc_influence(sample.false.astype(np.int64), values)
        known_by = sample.smaller_groups
        ends = [
            area_interval(effect, influence, sample.groups, level, known_by=known_by)
            for level in levels
        ]
        differs = "no" if ends[1][0] <= 0.5 <= ends[1][1] else "yes"
    medians = [float(np.median(each)) if len(each) else math.nan for each in (false, right)]
    return (
        label_of(sample.kind), sample.kind, region, measure, *medians, effect, *ends[0], *ends[1],
        differs, len(false), len(right),
    )  # fmt: skip


def _note(said: str, sample: _Sample, region: str, measure: str) -> str:
    notes = [said, sample.note] if sample.note else [said]
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


def check_guesses(table: pd.DataFrame) -> str:
    """Whether each guess of the reference recipe holds by this comparison, in one line."""
    if table.empty:
        return "no picture could be measured"
    answers = []
    for kind, guesses in _GUESSES.items():
        of_kind = table[table["kind"] == kind]
        rows = {(row["region"], row["measure"]): row for _, row in of_kind.iterrows()}
        words = [
            f"{guess}: {_check(rows[region, measure], direction)}"
            for guess, region, measure, direction in guesses
        ]
        first = of_kind.iloc[0]
        answers.append(
            f"{kind}s ({first['n_false']} against {first['n_right']} right) {', '.join(words)}"
        )
    return "; ".join(answers)


def _check(row: pd.Series, direction: int) -> str:
    if row["differs"] == "too few":
        return "too few to say"
    effect = f"{row['effect']:.2f}, {row['corrected_low']:.2f} to {row['corrected_high']:.2f}"
    if row["differs"] == "no":
        return f"not shown ({effect})"
    holds = (row["effect"] > 0.5) == (direction > 0)
    return f"{'yes' if holds else 'the opposite'} ({effect})"
