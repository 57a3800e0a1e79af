"""Cumulative studies: what each row adds to the row before it, in scores and in time."""

import logging
import math
from typing import Any

import pandas as pd

from deepfake_detection.parameters import EvaluationParameters, StudyParameters
from deepfake_detection.pipelines.studies.paired_rows import compare_rows, split_by_run
from deepfake_detection.pipelines.studies.tables import select_results

log = logging.getLogger(__name__)

_METRICS = ("accuracy", "roc_auc")


def compare_steps(
    study: StudyParameters,
    predictions: pd.DataFrame,
    evaluation: EvaluationParameters,
    **histories: pd.DataFrame,
) -> pd.DataFrame:
    """Compare each row of a cumulative study with the row before it, and with the first one.

    The differences are paired: both rows score the same images, of test, or of validation where
    there is no test. Folds and seeds are taken together as in `measure_over_runs`.

    `predictions` are those of all runs, with column run; `histories` are `training_history:RUN`.

    Returns:
        A row for each row of the study and metric (accuracy, roc_auc): row, title, metric, subset,
        value, difference (to the row before), low, high, since_first, since_first_low,
        since_first_high, n, differing_groups, seconds_per_epoch (the median), seconds_ratio (to the
        row before), note. What the first row has none of is NaN.
    """
    subset = "test" if "test" in set(predictions["subset"]) else "validation"
    scored = split_by_run(predictions, subset)
    by_run = select_results(histories, "training_history")
    first = next(iter(study.rows))
    before: str | None = None
    steps: list[dict[str, Any]] = []
    for row, runs in study.rows.items():
        seconds = float(pd.concat([by_run[run] for run in runs])["seconds"].median())
        for metric in _METRICS:
            step, whole = (
                compare_rows(scored, runs, others, metric, subset, evaluation.confidence)
                for others in ((study.rows[before], study.rows[first]) if before else (None, None))
            )
            steps.append(
                {
                    "row": row,
                    "title": study.runs[runs[0]].title,
                    "metric": metric,
                    "subset": subset,
                    "value": step.value,
                    "difference": step.difference,
                    "low": step.low,
                    "high": step.high,
                    "since_first": whole.difference,
                    "since_first_low": whole.low,
                    "since_first_high": whole.high,
                    "n": step.n,
                    "differing_groups": step.differing_groups,
                    "seconds_per_epoch": seconds,
                    "seconds_ratio": seconds / steps[-2]["seconds_per_epoch"] if before else None,
                    "note": step.note,
                }
            )
        before = row
    table = pd.DataFrame(steps).astype({"seconds_ratio": float})
    for _, added in table[table["row"] != first].iterrows():
        ends = "" if math.isnan(added["low"]) else f" ({added['low']:+.4f} to {added['high']:+.4f})"
        log.info(
            "  %-44s %s %+.4f%s, seconds per epoch × %.2f",
            added["title"], added["metric"].replace("_", " "), added["difference"], ends,
            added["seconds_ratio"],
        )  # fmt: skip
    return table
