"""How metrics fall on distorted pictures, as a table and in a sentence."""

from dataclasses import dataclass

import pandas as pd

from deepfake_detection.metrics.subsets import in_reading_order
from deepfake_detection.pipelines.reporting.tables import (
    MetricCell,
    beneath_in_words,
    metric_in_words,
    value_in_words,
)
from deepfake_detection.reports.words import percent

_NONE = "none"
# first those that the page speaks of
_FIRST = ("accuracy", "roc_auc")


@dataclass(frozen=True)
class RobustnessRow:
    """A distortion of one strength, with a cell for each column (None: not measured)."""

    name: str
    cells: tuple[MetricCell | None, ...]


@dataclass(frozen=True)
class Robustness:
    """The robustness table with a column, `(subset, metric in words)`, for each of both."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[RobustnessRow, ...]


def tabulate_robustness(robustness_table: pd.DataFrame) -> Robustness:
    """Put the metrics of each distortion and strength side by side, accuracy and ROC AUC first.

    Args:
        robustness_table: subset, distortion, strength, strength_name, metric, value, low, high, n,
            and perhaps class_name; the undistorted pictures are distortion `none`.
    """
    table = robustness_table.assign(column=_name_columns(robustness_table))
    order = list(dict.fromkeys([*map(metric_in_words, _FIRST), *table["column"]]))
    columns = [
        (subset, name)
        for subset in in_reading_order(table["subset"].astype(str))
        for name in order
        if ((table["subset"] == subset) & (table["column"] == name)).any()
    ]
    rows = []
    for (distortion, _), part in table.groupby(["distortion", "strength"], sort=False):
        cells = {
            (str(row["subset"]), row["column"]): MetricCell(
                value_in_words(row), beneath_in_words(row), None
            )
            for _, row in part.iterrows()
        }
        row = RobustnessRow(_in_words(part.iloc[0]), tuple(map(cells.get, columns)))
        rows.append((distortion != _NONE, row))
    # the undistorted ones first, all others as they stand in the table
    ordered = [row for _, row in sorted(rows, key=lambda each: each[0])]
    return Robustness(tuple(columns), tuple(ordered))


def _name_columns(table: pd.DataFrame) -> list[str]:
    """The metric of each row in words, with its class where it is of one."""
    classes = table.get("class_name", pd.Series(index=table.index, dtype=object))
    return [
        metric_in_words(metric) + (f", {name}" if isinstance(name, str) and name else "")
        for metric, name in zip(table["metric"], classes, strict=True)
    ]


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
    before, worst = plain["value"].iloc[0], distorted.sort_values("value").iloc[0]
    if worst["value"] >= before:
        return (
            f"None of the {len(distorted):,} distortions that were tried costs accuracy "
            f"({percent(before)} undistorted)."
        )
    return (
        f"Of {len(distorted):,} distortions that were tried, {_in_words(worst)} costs the most: "
        f"accuracy falls from {percent(before)} to {percent(worst['value'])}."
    )


def _in_words(row: pd.Series) -> str:
    """`JPEG quality 30`: the strength's name, with distortion and number unless it holds one."""
    distortion, name = str(row["distortion"]), str(row["strength_name"])
    if distortion == _NONE:
        return "undistorted"
    if any(map(str.isdigit, name)):
        return name
    return f"{distortion} ({name} {row['strength']:g})"
