"""Which row of a study is chosen, by what rule, and how its best run is used."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines.studies.plan import SPLIT
from deepfake_detection.pipelines.studies.tables import BEST
from deepfake_detection.reports.words import counted


def choose_row(study: StudyParameters, table: pd.DataFrame) -> dict[str, Any]:
    """Choose a row by validation accuracy, mean over its seeds and folds.

    If the rows have individual splits and others, only the others are chosen from: individual
    splits inflate their scores. A row that leaves a class of fakes out is never chosen: it measures
    how a detector does on unknown fakes.

    Returns:
        rule; chosen (a row's name, or None), title, run (its best), model, split_method,
        validation_accuracy; reason; tied_with (rows with the same accuracy); overlapping (lower
        rows whose interval, the mean of their runs', overlaps with the chosen row's); ruled_out
        (titles of rows that count as overfit); verdicts (by row); use (the parameters that make
        its detector the project's; None for a fold, trained on a part of the images only).
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
    run = str(runs["run"].iloc[int(runs[BEST].argmax())])
    folder, split = f"studies/{study.name}", study.runs[run].split.name
    reason = _say_reason(row, len(eligible), eligible.loc[tied, "title"], len(overlapping))
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
        "verdicts": verdicts | dict.fromkeys(tied, "tied") | {chosen: "chosen"},
        "use": None if study.folds else f"run={folder}/{run},run_split={folder}/{SPLIT}{split}",
    }


def _say_rule(limit: float | None, repeats: int, mixed: bool, left_out: bool) -> str:
    return (
        "the highest validation accuracy"
        + (f", mean of {repeats} runs" if repeats > 1 else "")
        + (f", of rows that are not above {limit:g}" if limit is not None else "")
        + (", of splits that are not individual" if mixed else "")
        + (", of rows that leave no class out" if left_out else "")
    )


def _say_reason(row: pd.Series, eligible: int, tied: pd.Series, overlapping: int) -> str:
    accuracy = f"{row['accuracy']:.4f}"
    if len(tied):
        titles = ", ".join([row["title"], *tied])
        reason = f"tied: {titles} (validation accuracy {accuracy}); the first was taken"
    else:
        reason = (
            f"its validation accuracy, {accuracy}, is the highest of {counted(eligible, 'row')}"
        )
    if overlapping:
        rows = counted(overlapping, "lower row")
        reason += f"; no clear winner, its interval overlaps with that of {rows}"
    return reason


def say_choice(choice: Mapping[str, Any]) -> str:
    """The choice as a sentence."""
    chosen = "No row is chosen" if choice["chosen"] is None else f"Chosen: {choice['title']}"
    return f"{chosen} (rule: {choice['rule']}). {as_sentence(choice['reason'])}"


def say_use(choice: Mapping[str, Any]) -> str:
    """The command that scores the chosen run and writes its report; empty where there is none."""
    pipelines = "leakage_audit,evaluation,robustness,reporting"
    return f"kedro run --pipelines {pipelines} --params {choice['use']}" if choice["use"] else ""


def as_sentence(text: str) -> str:
    """The text with a capital letter at its start and a full stop at its end."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")
