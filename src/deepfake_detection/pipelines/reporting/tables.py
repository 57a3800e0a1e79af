"""The report's tables, and sentences that say what they hold.

The tables come from the catalog: `robustness_table` has a row for each distortion (`none` for the
undistorted pictures), strength and metric, `false_case_measures` one for each kind of error, region
and measure.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepfake_detection.metrics.scored import AUC_OF_KIND, MEAN_AUC, MEAN_RECALL, RECALL_OF_KIND
from deepfake_detection.metrics.subsets import in_reading_order
from deepfake_detection.reports.parts import Cell, Table
from deepfake_detection.reports.words import counted, listed, rounded

# no class folder has such a name
MEAN = "mean of all kinds"
_UNDISTORTED = "none"
_NAMES = {
    "roc_auc": "ROC AUC",
    "f1": "F1",
    AUC_OF_KIND: "ROC AUC of kind",
    MEAN_RECALL: "Mean recall of the kinds",
    MEAN_AUC: "Mean ROC AUC of the kinds",
    "error_of_sure": "Error of sure verdicts",
    "accuracy_of_likest": "Accuracy without the most unlike tenth",
    "true_positives": "Fakes detected",
    "true_negatives": "Real images accepted",
}
_COUNTS = ("false_negatives", "false_positives", "true_positives", "true_negatives")
# the metrics that the page speaks of come first
_FIRST = ("accuracy", "roc_auc")

# Wide form of a long table: a cell by its row's and its column's header.
_Cells = dict[tuple[str, Cell], Cell]


def count_images(split_summary: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Images by subset (from train to test, those that hold any) and class folder."""
    images = split_summary["images"]
    folders = dict.fromkeys(name for counts in images.values() for name in counts)
    held = [subset for subset, counts in images.items() if sum(counts.values())]
    return {
        subset: {name: images[subset].get(name, 0) for name in folders}
        for subset in in_reading_order(held)[::-1]
    }


def tabulate_kinds(metric_table: pd.DataFrame, levels: Mapping[str, str]) -> Table:
    """Recall and ROC AUC of each kind of fake on the headline subset, and their means.

    `levels` as in `name_levels`.
    """
    subset = next(iter(in_reading_order(metric_table["subset"].astype(str))), "")
    cells: _Cells = {}
    columns = {
        (level, name): Cell(_name_metric(name), f"by {word}", thing=subset)
        for level, word in levels.items()
        for name in ("recall", "roc_auc")
    }
    metrics = {
        RECALL_OF_KIND: "recall", AUC_OF_KIND: "roc_auc", MEAN_RECALL: "recall", MEAN_AUC: "roc_auc"
    }  # fmt: skip
    shown = metric_table["metric"].isin(metrics) & (metric_table["subset"] == subset)
    table = metric_table[shown].reindex(columns=[*metric_table.columns.union(["low", "high"])])
    for _, row in table.iterrows():
        kind = row["class_name"] if isinstance(row["class_name"], str) else MEAN
        column = columns[str(row["level"]), metrics[row["metric"]]]
        cells[kind, column] = Cell(_value(row), _interval_and_n(row))
    # the means last
    cells = dict(sorted(cells.items(), key=lambda cell: cell[0][0] == MEAN))
    return _widen(f"Each kind of fake, {subset}", "Kind of fake", list(columns.values()), cells)


def tabulate_metrics(
    metric_table: pd.DataFrame, levels: Mapping[str, str]
) -> tuple[Table, list[str]]:
    """All metrics, a column for each subset and level, and the footnotes in order.

    `levels` as in `name_levels`.

    A note shared by a whole column stands at its head; any other at its cell. NaN in class_name,
    value, note, low and high stands for none; low and high may lack.
    """
    table = metric_table.reindex(columns=[*metric_table.columns.union(["low", "high"])])
    notes: dict[object, int] = {}

    def number(note: object) -> int:
        known = isinstance(note, str) and note
        return notes.setdefault(note, len(notes) + 1) if known else 0

    parts = [
        ((str(subset), level), part)
        for (subset, level), part in table.groupby(["subset", "level"], sort=False)
    ]
    subsets = in_reading_order(table["subset"].astype(str))
    # in the order of the whole table, also where a subset's part begins otherwise
    cells: _Cells = {(name, Cell("")): Cell("") for name in _name_metrics(table)}
    columns = []
    for (subset, level), part in sorted(parts, key=lambda part: subsets.index(part[0][0])):
        shared = _shared_note(part["note"])
        column = Cell(subset, f"by {levels[str(level)]}", note=number(shared), thing=subset)
        columns.append(column)
        for name, (_, row) in zip(_name_metrics(part), part.iterrows(), strict=True):
            note = number(row["note"] if row["note"] != shared else None)
            cells.setdefault((name, column), Cell(_value(row), _interval_and_n(row), note=note))
    return _widen("All metrics", "Metric", columns, cells), [str(note) for note in notes]


def _shared_note(notes: pd.Series) -> str | None:
    """The note that most cells carry, where every cell has one."""
    counts = notes.value_counts()
    return str(counts.index[0]) if notes.notna().all() and counts.iloc[0] > 1 else None


def tabulate_robustness(robustness_table: pd.DataFrame) -> Table:
    """Metrics of each distortion and strength side by side, accuracy and ROC AUC first."""
    # the undistorted pictures come first, all others as they stand in the table
    distorted = robustness_table["distortion"] != _UNDISTORTED
    table = robustness_table.assign(distorted=distorted).sort_values("distorted", kind="stable")
    table = table.reindex(columns=table.columns.union(["class_name"], sort=False))
    cells: _Cells = {}
    for name, (_, row) in zip(_name_metrics(table), table.iterrows(), strict=True):
        subset = str(row["subset"])
        column = Cell(name, subset, thing=subset)
        cells[_name_distortion(row), column] = Cell(_value(row), _interval_and_n(row))
    subsets = in_reading_order(table["subset"].astype(str))
    first = [*map(_name_metric, _FIRST), *(column.value for _, column in cells)]
    columns = sorted(
        {column for _, column in cells},
        key=lambda column: (subsets.index(column.beneath), first.index(column.value)),
    )
    return _widen("Robustness", "Pictures", columns, cells)


def _name_distortion(row: pd.Series) -> str:
    """`JPEG quality 30`: the strength's name, with distortion and number unless it holds one."""
    distortion, name = str(row["distortion"]), str(row["strength_name"])
    if distortion == _UNDISTORTED:
        return "undistorted"
    if any(map(str.isdigit, name)):
        return name
    return f"{distortion} ({name} {row['strength']:g})"


def say_differences(compared: pd.DataFrame) -> str:
    """How many of the comparisons differ, and which, in a sentence; none are too few to compare."""
    differing = [
        f"{row['measure']} of {row['region']} ({row['kind']}s)"
        for _, row in compared[compared["differs"] == "yes"].iterrows()
    ]
    if compared.empty:
        return "There are too few errors, or they come from too few groups, to be compared."
    comparisons = counted(len(compared), "comparison")
    if not differing:
        return f"None of {comparisons} shows a significant difference."
    shows = "shows" if len(differing) == 1 else "show"
    return (
        f"{len(differing):,} of {comparisons} {shows} a significant difference: "
        f"{listed(differing)}."
    )


def list_notes(false_case_measures: pd.DataFrame) -> list[str]:
    """What the comparisons must be read with, each note once."""
    notes = false_case_measures["note"].dropna().astype(str)
    return list(dict.fromkeys(part for note in notes for part in note.split("; ") if part))


def _widen(name: str, corner: str, columns: list[Cell], cells: _Cells) -> Table:
    rows = [
        [row, *(cells.get((row, column), "") for column in columns)]
        for row in dict.fromkeys(row for row, _ in cells)
    ]
    return Table(name, [corner, *columns], rows, "numbers metrics")


def _name_metrics(table: pd.DataFrame) -> list[str]:
    """The metric of each row in words, with its class where it is of one."""
    return [
        _name_metric(metric) + (f", {name}" if isinstance(name, str) and name else "")
        for metric, name in zip(table["metric"], table["class_name"], strict=True)
    ]


def _name_metric(metric: str) -> str:
    words = metric.replace("_", " ")
    return _NAMES.get(metric, words[:1].upper() + words[1:])


def _value(row: pd.Series) -> str:
    """A row's value: no more decimals than its interval allows, a whole number for a count."""
    if pd.isna(row["value"]):
        return "undefined"
    if row["metric"] in _COUNTS:
        return f"{row['value']:,.0f}"
    return rounded(row["value"], row["high"] - row["low"])


def _interval_and_n(row: pd.Series) -> str:
    low, high = row["low"], row["high"]
    ends = (
        "" if pd.isna(high - low) else " to ".join(rounded(end, high - low) for end in (low, high))
    )
    n = "" if pd.isna(row["n"]) else f"n {row['n']:,.0f}"
    return " · ".join(filter(None, (ends, n)))
