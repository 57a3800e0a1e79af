"""Cumulative studies: what each row adds to the row before it, in scores and in time."""

import logging
import math
from dataclasses import replace
from typing import Any

import pandas as pd

from deepfake_detection.metrics.differences import Difference, measure_over_runs
from deepfake_detection.parameters import EvaluationParameters, StudyParameters
from deepfake_detection.pipelines.studies.tables import select_results

log = logging.getLogger(__name__)

_METRICS = ("accuracy", "roc_auc")
_OTHER_IMAGES = "no difference: the rows are scored on different images"


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
    scored = dict(list(predictions[predictions["subset"] == subset].groupby("run")))
    by_run = select_results(histories, "training_history")
    first = next(iter(study.rows))
    before: str | None = None
    steps: list[dict[str, Any]] = []
    for row, runs in study.rows.items():
        seconds = float(pd.concat([by_run[run] for run in runs])["seconds"].median())
        for metric in _METRICS:
            step, whole = (
                _compare(scored, runs, others, metric, subset, evaluation)
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


def _compare(
    scored: dict[Any, pd.DataFrame],
    runs: list[str],
    others: list[str] | None,
    metric: str,
    subset: str,
    evaluation: EvaluationParameters,
) -> Difference:
    """The difference of a row's runs to those of another; the value alone where there is none."""
    ours = [scored[run] for run in runs]
    pairs = [
        (rows, aligned)
        for rows, other in zip(ours, others or [], strict=bool(others))
        if (aligned := _align(scored[other], rows)) is not None
    ]
    if len(pairs) == len(runs):
        return measure_over_runs(pairs, metric, subset, evaluation.confidence)
    pairs = list(zip(ours, ours, strict=True))
    alone = measure_over_runs(pairs, metric, subset, evaluation.confidence)
    nan, note = math.nan, _OTHER_IMAGES if others else None
    return replace(alone, difference=nan, low=nan, high=nan, differing_groups=0, note=note)


def _align(others: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame | None:
    """The other run's rows in the order of these; None if they are of different images."""
    if set(others["path"]) != set(ours["path"]):
        return None
    return ours[["path"]].merge(others, on="path", validate="one_to_one")
