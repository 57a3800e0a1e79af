"""Which row of a study is chosen, by what rule, and how its best run is used."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detection.parameters import EvaluationParameters, StudyParameters
from deepfake_detection.pipelines.studies.paired_rows import compare_rows, split_by_run
from deepfake_detection.pipelines.studies.plan import SPLIT
from deepfake_detection.pipelines.studies.tables import BEST
from deepfake_detection.reports.words import counted


def choose_row(
    study: StudyParameters,
    table: pd.DataFrame,
    predictions: pd.DataFrame | None = None,
    evaluation: EvaluationParameters | None = None,
) -> dict[str, Any]:
    """Choose a row by validation accuracy, mean over its seeds and folds.

    If the rows have individual splits and others, only the others are chosen from: individual
    splits inflate their scores. A row that leaves a class of fakes out is never chosen: it measures
    how a detector does on unknown fakes. With `predictions` of all runs (column run) the chosen row
    is compared with the next one, image by image.

    Returns:
        rule; chosen (a row's name, or None), title, run (its best), model, split_method,
        validation_accuracy; reason; tied_with (rows with the same accuracy); overlapping (lower
        rows whose interval, the mean of their runs', overlaps with the chosen row's);
        runner_up (the next row: row, title, and difference, low, high: how much lower its
        validation accuracy is, paired; None if unknown); ruled_out
        (titles of rows that count as overfit); verdicts (by row); use (of `name_run`).
    """
    rows = table.groupby("row", sort=False).agg(
        title=("title", "first"),
        method=("split_method", "first"),
        accuracy=(BEST, "mean"),
        low=(f"{BEST}_low", "mean"),
        high=(f"{BEST}_high", "mean"),
    )
    limit = study.overfit_above
    overfit = rows["accuracy"] > (np.inf if limit is None else limit)
    individual = rows["method"] == "individual"
    mixed = individual.any() and not individual.all()
    left_out = pd.Series(
        {row: study.runs[runs[0]].split.leave_out is not None for row, runs in study.rows.items()}
    ).reindex(rows.index)
    eligible = rows[~overfit & ~left_out & (~individual | (not mixed))]
    nothing = ("chosen", "title", "run", "model", "split_method", "validation_accuracy", "use")
    verdicts = dict.fromkeys(rows.index[overfit], "overfit")
    choice: dict[str, Any] = dict.fromkeys(nothing) | {
        "rule": _say_rule(limit, len(table) // len(rows), bool(mixed), bool(left_out.any())),
        "reason": "",
        "tied_with": [],
        "overlapping": [],
        "runner_up": None,
        "ruled_out": list(rows.loc[overfit, "title"]),
        "verdicts": verdicts,
    }
    if eligible.empty:
        which = "every row that leaves no class out" if left_out.any() else "every row"
        reason = f"{which} is above {limit} and counts as overfit ({study.name}.overfit_above)"
        if left_out.all():
            reason = "every row leaves a class out"
        return choice | {"reason": reason}
    best = eligible["accuracy"].max()
    # equal means may differ by rounding
    chosen, *tied = eligible.index[np.isclose(eligible["accuracy"], best, rtol=0, atol=1e-9)]
    row, below = eligible.loc[chosen], eligible.drop([chosen, *tied])
    overlapping = list(below.index[below["high"] >= row["low"]])
    runs = table[table["row"] == chosen]
    run = best_run(runs)
    runner_up = None
    if len(eligible) > 1 and predictions is not None and evaluation is not None:
        after = tied[0] if tied else str(below["accuracy"].idxmax())
        runner_up = {"row": after, "title": eligible.loc[after, "title"]} | _compare(
            study, predictions, chosen, after, evaluation.confidence
        )
    reason = _say_reason(
        row, len(eligible), eligible.loc[tied, "title"], len(overlapping), runner_up
    )
    if mixed:
        best = rows[individual].sort_values("accuracy").iloc[-1]
        reason += f"; individual splits reach {best['accuracy']:.4f}, which is inflated"
    return choice | {
        "chosen": chosen,
        "title": row["title"],
        "run": run,
        "model": study.runs[run].model,
        "split_method": row["method"],
        "validation_accuracy": row["accuracy"],
        "reason": reason,
        "tied_with": tied,
        "overlapping": overlapping,
        "runner_up": runner_up,
        "verdicts": verdicts | dict.fromkeys(tied, "tied") | {chosen: "chosen"},
        "use": name_run(study, run),
    }


def _say_rule(limit: float | None, repeats: int, mixed: bool, left_out: bool) -> str:
    return (
        "the highest validation accuracy"
        + (f", mean of {repeats} runs" if repeats > 1 else "")
        + (f", of rows that are not above {limit:g}" if limit is not None else "")
        + (", of splits that are not individual" if mixed else "")
        + (", of rows that leave no class out" if left_out else "")
    )


def _compare(
    study: StudyParameters,
    predictions: pd.DataFrame,
    chosen: str,
    after: str,
    confidence: float,
) -> dict[str, float | None]:
    """How much lower the validation accuracy of the next row is, with its interval."""
    scored = split_by_run(predictions, "validation")
    rows = study.rows
    found = compare_rows(scored, rows[chosen], rows[after], "accuracy", "validation", confidence)
    values = {"difference": found.difference, "low": found.low, "high": found.high}
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _say_reason(
    row: pd.Series,
    eligible: int,
    tied: pd.Series,
    overlapping: int,
    runner_up: Mapping[str, Any] | None,
) -> str:
    accuracy = f"{row['accuracy']:.4f}"
    if len(tied):
        titles = ", ".join([row["title"], *tied])
        reason = f"tied: {titles} (validation accuracy {accuracy}); the first was taken"
    else:
        reason = (
            f"its validation accuracy, {accuracy}, is the highest of {counted(eligible, 'row')}"
        )
    if runner_up and runner_up["low"] is not None:
        low, high = runner_up["low"], runner_up["high"]
        what = f"the difference to the next one, {runner_up['title']}, is {low:+.3f} to {high:+.3f}"
        reason += f"; no clear winner: {what}" if low <= 0 else f"; {what}"
    elif overlapping:
        rows = counted(overlapping, "lower row")
        reason += f"; no clear winner, its interval overlaps with that of {rows}"
    return reason


def say_choice(choice: Mapping[str, Any]) -> tuple[str, str, str]:
    """The choice in sentences: which row, why, and by what rule."""
    chosen = f"Chosen: {choice['title']}" if choice["chosen"] else "No row is chosen"
    return as_sentence(chosen), as_sentence(choice["reason"]), f"Rule: {choice['rule']}."


def best_run(runs: pd.DataFrame) -> str:
    """The run with the highest validation accuracy."""
    return str(runs["run"].iloc[int(runs[BEST].fillna(-1).argmax())])


def name_run(study: StudyParameters, run: str) -> str | None:
    """The parameters that make a run's detector the project's.

    None for a fold, whose detector is trained on a part of the images only.
    """
    folder, split = f"studies/{study.name}", f"{SPLIT}{study.runs[run].split.name}"
    return None if study.folds else f"run={folder}/{run},run_split={folder}/{split}"


def say_use(use: str | None, environment: str | None) -> str:
    """The command that scores the run of `name_run` and writes its report; empty for None."""
    if not use:
        return ""
    env = f"--env {environment} " if environment else ""
    pipelines = "leakage_audit,shortcut_audit,evaluation,robustness,reporting"
    return f"kedro run {env}--pipelines {pipelines} --params {use}"


def as_sentence(text: str) -> str:
    """The text with a capital letter at its start and a full stop at its end."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
