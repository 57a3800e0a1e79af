"""The report's tables: wide forms of the long ones, ready to be read from left to right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepfake_detection.metrics.subsets import in_reading_order

_NAMES = {"roc_auc": "ROC AUC", "f1": "F1", "true_negatives": "Real ones passed"}
_COUNTS = ("false_negatives", "false_positives", "true_positives", "true_negatives")


@dataclass(frozen=True)
class MetricCell:
    """A metric in one subset and level: value, interval and number of images in words."""

    value: str
    beneath: str
    note: int | None


@dataclass(frozen=True)
class MetricColumn:
    """A subset and a level; `note` is the footnote that holds for all its cells."""

    subset: str
    level: str
    note: int | None


@dataclass(frozen=True)
class MetricRow:
    """A metric, for one class where `class_name` is given, over all columns (None: not there)."""

    name: str
    class_name: str
    cells: tuple[MetricCell | None, ...]


@dataclass(frozen=True)
class Metrics:
    """The metric table with a column for each subset and level, and its footnotes in order."""

    columns: tuple[MetricColumn, ...]
    rows: tuple[MetricRow, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Composition:
    """Images by subset (rows) and class folder (columns), with each subset's groups."""

    class_names: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...], int, int | None], ...]
    totals: tuple[int, ...]


def is_of_run(table: pd.DataFrame, run_fingerprint: str) -> bool:
    """Whether a table has rows, and all of this run.

    Args:
        table: Column run_fingerprint.
        run_fingerprint: Of the detector.
    """
    return set(table["run_fingerprint"].astype(str)) == {run_fingerprint}


def widen_metrics(metric_table: pd.DataFrame) -> Metrics:
    """Put subsets and levels side by side.

    A note shared by a whole column stands at its head; any other at its cell.

    Args:
        metric_table: metric, subset, level, class_name, value, n, note and perhaps low, high;
            NaN in class_name, value, note, low and high where there is none.
    """
    table = metric_table.reindex(columns=[*metric_table.columns.union(["low", "high"])])
    table = table.assign(class_name=table["class_name"].fillna("").astype(str))
    notes: list[str] = []
    columns: list[MetricColumn] = []
    cells: dict[tuple[str, str], dict[int, MetricCell]] = {
        key: {} for key in table[["metric", "class_name"]].itertuples(index=False, name=None)
    }
    parts = dict(list(table.groupby(["subset", "level"], sort=False)))
    order = [
        key for subset in in_reading_order(table["subset"]) for key in parts if key[0] == subset
    ]
    for place, (subset, level) in enumerate(order):
        part = parts[subset, level]
        shared = _shared_note(part)
        columns.append(MetricColumn(str(subset), str(level), _number(shared, notes)))
        for _, row in part.iterrows():
            note = row["note"] if row["note"] != shared else None
            cell = MetricCell(value_in_words(row), beneath_in_words(row), _number(note, notes))
            cells[row["metric"], row["class_name"]].setdefault(place, cell)
    rows = tuple(
        MetricRow(metric_in_words(metric), class_name, tuple(map(found.get, range(len(columns)))))
        for (metric, class_name), found in cells.items()
    )
    return Metrics(tuple(columns), rows, tuple(notes))


def _shared_note(part: pd.DataFrame) -> str | None:
    """The note that most cells carry, if there is none without one."""
    notes = part["note"].value_counts(dropna=False)
    most, times = notes.index[0], notes.iloc[0]
    return most if times > 1 and all(isinstance(note, str) for note in notes.index) else None


def _number(note: object, notes: list[str]) -> int | None:
    """The footnote's number, counted from 1; a new one is put at the end of the notes."""
    if not isinstance(note, str) or not note:
        return None
    if note not in notes:
        notes.append(note)
    return notes.index(note) + 1


def value_in_words(row: pd.Series) -> str:
    """A row's value: four decimals, a whole number for a count, or `undefined`."""
    if pd.isna(row["value"]):
        return "undefined"
    return f"{row['value']:,.0f}" if row["metric"] in _COUNTS else f"{row['value']:.4f}"


def beneath_in_words(row: pd.Series) -> str:
    """A row's interval and number of images, as far as it has them."""
    parts = []
    if not (pd.isna(row["low"]) or pd.isna(row["high"])):
        parts.append(f"{row['low']:.3f} to {row['high']:.3f}")
    if not pd.isna(row["n"]):
        parts.append(f"n {row['n']:,.0f}")
    return " · ".join(parts)


def metric_in_words(metric: str) -> str:
    """A metric's name for a reader: `ROC AUC`."""
    words = metric.replace("_", " ")
    return _NAMES.get(metric, words[:1].upper() + words[1:])


def compose_data(split_summary: Mapping[str, Any]) -> Composition:
    """Images by subset and class, and groups by subset.

    Args:
        split_summary: `images` ({subset: {class: count}}) and `groups` ({subset: count}).
    """
    images: Mapping[str, Mapping[str, int]] = split_summary["images"]
    class_names = tuple(dict.fromkeys(name for counts in images.values() for name in counts))
    held = [subset for subset, counts in images.items() if sum(counts.values())]
    subsets = in_reading_order(held)[::-1]
    rows = []
    for subset in subsets:
        counts = tuple(images[subset].get(name, 0) for name in class_names)
        rows.append((subset, counts, sum(counts), split_summary["groups"].get(subset)))
    totals = [sum(counts) for counts in zip(*(row[1] for row in rows), strict=True)]
    return Composition(class_names, tuple(rows), (*totals, sum(totals)))
