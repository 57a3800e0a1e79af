"""How metrics fall on distorted pictures, as a table and in a sentence."""

from dataclasses import dataclass

import pandas as pd

from deepfake_detection.pipelines.reporting.subsets import in_reading_order
from deepfake_detection.pipelines.reporting.tables import (
    MetricCell,
    beneath_in_words,
    metric_in_words,
    value_in_words,
)
from deepfake_detection.plotting.words import percent

_NONE = "none"
_DISTORTIONS = {
    _NONE: "undistorted",
    "jpeg": "JPEG compression",
    "scaling": "scaling down and up",
    "brightness": "other brightness",
}
# first those that the page speaks of
_FIRST = ("accuracy", "roc_auc")


@dataclass(frozen=True)
class RobustnessRow:
    """A distortion of one strength, with a cell for each column (None: not measured)."""

    distortion: str
    strength: str
    cells: tuple[MetricCell | None, ...]


@dataclass(frozen=True)
class Robustness:
    """The robustness table with a column for each subset and metric, `(subset, metric)`."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[RobustnessRow, ...]


def tabulate_robustness(robustness_table: pd.DataFrame) -> Robustness:
    """Put the metrics of each distortion and strength side by side, accuracy and ROC AUC first.

    Args:
        robustness_table: subset, distortion, strength, strength_name, metric, value, low, high, n;
            the undistorted pictures are distortion `none`.
    """
    table = robustness_table
    metrics = list(dict.fromkeys([*_FIRST, *table["metric"]]))
    columns = [
        (subset, metric)
        for subset in in_reading_order(table["subset"].astype(str))
        for metric in metrics
        if ((table["subset"] == subset) & (table["metric"] == metric)).any()
    ]
    rows = []
    for (distortion, _), part in table.groupby(["distortion", "strength"], sort=False):
        cells = {
            (str(row["subset"]), row["metric"]): MetricCell(
                value_in_words(row), beneath_in_words(row), None
            )
            for _, row in part.iterrows()
        }
        row = RobustnessRow(
            _in_words(str(distortion)), _strength(part.iloc[0]), tuple(map(cells.get, columns))
        )
        rows.append((distortion != _NONE, row))
    # the undistorted ones first, all others as they stand in the table
    ordered = [row for _, row in sorted(rows, key=lambda each: each[0])]
    named = tuple((subset, metric_in_words(metric)) for subset, metric in columns)
    return Robustness(named, tuple(ordered))


def say_weakest(robustness_table: pd.DataFrame) -> str:
    """The distortion that costs the most accuracy, in a sentence; empty where none was measured.

    Args:
        robustness_table: As for `tabulate_robustness`.
    """
    subset = next(iter(in_reading_order(robustness_table["subset"].astype(str))), None)
    table = robustness_table[
        (robustness_table["metric"] == "accuracy") & (robustness_table["subset"] == subset)
    ].dropna(subset=["value"])
    plain = table[table["distortion"] == _NONE]
    distorted = table[table["distortion"] != _NONE]
    if plain.empty or distorted.empty:
        return ""
    before, worst = plain["value"].iloc[0], distorted.loc[distorted["value"].idxmin()]
    if worst["value"] >= before:
        return (
            f"None of the {len(distorted):,} distortions that were tried costs accuracy "
            f"({percent(before)} undistorted)."
        )
    return (
        f"Of {len(distorted):,} distortions that were tried, {_in_words(str(worst['distortion']))} "
        f"({_strength(worst)}) costs the most: accuracy falls from {percent(before)} to "
        f"{percent(worst['value'])}."
    )


def _in_words(distortion: str) -> str:
    return _DISTORTIONS.get(distortion, distortion)


def _strength(row: pd.Series) -> str:
    """`quality 30`: the strength's name, with its number unless the name holds it."""
    if row["distortion"] == _NONE:
        return ""
    name = str(row["strength_name"])
    return name if any(map(str.isdigit, name)) else f"{name} {row['strength']:g}"
