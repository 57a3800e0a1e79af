"""Which row of a study is chosen, and by what rule."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepfake_detection.parameters import StudyParameters
from deepfake_detection.reports.words import counted


@dataclass(frozen=True)
class _Row:
    title: str
    method: str
    accuracy: float


def choose_row(study: StudyParameters, table: pd.DataFrame) -> dict[str, Any]:
    """Choose a row by validation accuracy, mean over its seeds and folds.

    Where the study has rows of both split methods, grouped ones alone are chosen from: individual
    splits inflate their scores, which cannot be compared with the others'.

    Args:
        study: The study.
        table: Its runs: run, row, title, split_method, best_validation_accuracy.

    Returns:
        rule, chosen (a row's name, or None), title, run (of its runs, that with the highest
        validation accuracy), model, split_method, validation_accuracy, reason, ruled_out (titles
        of rows that count as overfit), verdicts (by row).
    """
    rows = {
        str(name): _Row(
            str(runs["title"].iloc[0]),
            str(runs["split_method"].iloc[0]),
            float(runs["best_validation_accuracy"].mean()),
        )
        for name, runs in table.groupby("row", sort=False)
    }
    limit = study.overfit_above
    overfit = {name for name, row in rows.items() if limit is not None and row.accuracy > limit}
    mixed = len({row.method for row in rows.values()}) > 1
    eligible = {
        name: row
        for name, row in rows.items()
        if name not in overfit and (row.method == "group" or not mixed)
    }
    choice: dict[str, Any] = {
        "rule": _say_rule(limit, len(table) // len(rows), mixed),
        "chosen": None,
        "title": None,
        "run": None,
        "model": None,
        "split_method": None,
        "validation_accuracy": None,
        "reason": "",
        "ruled_out": [rows[name].title for name in rows if name in overfit],
        "verdicts": dict.fromkeys(sorted(overfit), "overfit"),
    }
    if not eligible:
        return choice | {"reason": f"every row is above {limit:g}, and counts as overfit"}
    chosen = max(eligible, key=lambda name: eligible[name].accuracy)
    row = eligible[chosen]
    individual = [each for name, each in rows.items() if name not in overfit and mixed]
    return choice | {
        "chosen": chosen,
        "title": row.title,
        "run": (run := _best_run(table, chosen)),
        "model": study.runs[run].model,
        "split_method": row.method,
        "validation_accuracy": row.accuracy,
        "reason": f"its validation accuracy, {row.accuracy:.4f}, is the highest of "
        f"{counted(len(eligible), 'row')}{_say_best_individual(individual)}",
        "verdicts": choice["verdicts"] | {chosen: "chosen"},
    }


def _best_run(table: pd.DataFrame, row: str) -> str:
    runs = table[table["row"] == row]
    return str(runs["run"].iloc[int(runs["best_validation_accuracy"].argmax())])


def _say_rule(limit: float | None, repeats: int, mixed: bool) -> str:
    return (
        "the highest validation accuracy"
        + (f", mean of {repeats} runs" if repeats > 1 else "")
        + (f", of rows that are not above {limit:g}" if limit is not None else "")
        + (", of grouped splits" if mixed else "")
    )


def _say_best_individual(rows: list[_Row]) -> str:
    individual = [row for row in rows if row.method == "individual"]
    if not individual:
        return ""
    best = max(individual, key=lambda row: row.accuracy)
    return (
        f"; of individual splits it is {best.title} with {best.accuracy:.4f}, which is inflated "
        "and cannot be compared"
    )


def say_choice(choice: Mapping[str, Any]) -> str:
    """The choice as a sentence."""
    if choice["chosen"] is None:
        return f"No row is chosen (rule: {choice['rule']}): {choice['reason']}"
    return f"Chosen: {choice['title']} ({choice['rule']}): {choice['reason']}"
