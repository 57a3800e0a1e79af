"""Cumulative studies on sets from elsewhere: what each row adds there."""

import logging
import math
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detection.metrics.caveats import EXTERNAL
from deepfake_detection.parameters import (
    EvaluationParameters,
    FaceExtractionParameters,
    GeneralisationParameters,
    StudyParameters,
)
from deepfake_detection.pipelines.generalisation.nodes import score_sets
from deepfake_detection.pipelines.studies.paired_rows import compare_rows, split_by_run
from deepfake_detection.pipelines.studies.tables import select_results

log = logging.getLogger(__name__)

_METRIC = "roc_auc"


def score_elsewhere(
    study: StudyParameters,
    project_folder: Path,
    crops_of_sets: Path,
    scores_of_sets: Path,
    generalisation: GeneralisationParameters,
    face_extraction: FaceExtractionParameters,
    evaluation: EvaluationParameters,
    **results: Any,
) -> pd.DataFrame:
    """Score the sets of `generalisation` with each run's detector.

    `results` are `detector:RUN`, and the folders as for `score_sets`. Predictions as there, with
    the column run in place of detector.
    """
    runs = select_results(results, "detector")
    folders = {name: each for name, each in results.items() if name.startswith("set:")}
    scored, _ = score_sets(
        {run: runs[run] for run in study.runs},
        project_folder, crops_of_sets, scores_of_sets, generalisation, face_extraction, evaluation,
        **folders,
    )  # fmt: skip
    return scored.rename(columns={"detector": "run"})


def compare_steps_elsewhere(
    study: StudyParameters, set_predictions: pd.DataFrame, evaluation: EvaluationParameters
) -> pd.DataFrame:
    """Compare each row with the row before it, on each set from elsewhere that all runs scored.

    Returns:
        A row for each set and row of the study: set, row, title, metric (roc_auc), value (the mean
        of its runs), difference (to the row before, paired), low, high, n, note.
    """
    steps: list[dict[str, Any]] = []
    for set_name, of_set in set_predictions.groupby("set", sort=False):
        scored = split_by_run(of_set, EXTERNAL)
        if missing := [run for run in study.runs if run not in scored]:
            log.warning("%s has no scores of %s and is left out", set_name, ", ".join(missing))
            continue
        before: list[str] | None = None
        for row, runs in study.rows.items():
            step = compare_rows(scored, runs, before, _METRIC, EXTERNAL, evaluation.confidence)
            title, before = study.runs[runs[0]].title, runs
            steps.append(
                {"set": set_name, "row": row, "title": title, "metric": _METRIC}
                | {
                    name: getattr(step, name)
                    for name in ("value", "difference", "low", "high", "n", "note")
                }
            )
            if not math.isnan(step.low):
                log.info(
                    "  %-44s ROC AUC on %s %+.4f (%+.4f to %+.4f)",
                    title, set_name, step.difference, step.low, step.high,
                )  # fmt: skip
    columns = ["set", "row", "title", "metric", "value", "difference", "low", "high", "n", "note"]
    return pd.DataFrame(steps, columns=columns)
