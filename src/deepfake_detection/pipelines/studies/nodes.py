"""Nodes of a study: its runs, each trained and scored once, and what they give together."""

import logging
from typing import Any

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import fingerprint_of_run, fingerprint_of_training
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.finished import KeptScores
from deepfake_detection.models.backbones import fetch_weights
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorFile
from deepfake_detection.parameters import (
    Backbones,
    CalibrationParameters,
    EvaluationParameters,
    RunParameters,
    StudyParameters,
    TrainingParameters,
)
from deepfake_detection.pipelines.evaluation.nodes import make_metrics, predict_split
from deepfake_detection.pipelines.studies.choice import choose_row, say_choice, say_use
from deepfake_detection.pipelines.studies.tables import (
    BEST,
    describe_history,
    say_split,
    select_results,
    tabulate_runs,
)
from deepfake_detection.pipelines.training.nodes import train_detector
from deepfake_detection.training.build_detector import merge_settings
from deepfake_detection.training.run_store import KeptTrainings

log = logging.getLogger(__name__)


def check_weights(study: StudyParameters) -> None:
    """Fetch the weights that the runs start from, before anything that takes long.

    Raises:
        UserError: If some cannot be fetched or read.
    """
    for model, weights in {(run.model, run.training.weights) for run in study.runs.values()}:
        fetch_weights(model, weights)


def train_run(
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    pixel_cache: PixelCache,
    kept_trainings: KeptTrainings,
    name: str,
    model: str,
    backbones: Backbones,
    training: TrainingParameters,
    calibration: CalibrationParameters,
) -> tuple[pd.DataFrame, Detector | DetectorFile]:
    """Train one run of a study, unless a run with the same settings and split is finished.

    `kept_trainings` holds the study's finished trainings and the checkpoints of others; all other
    arguments and errors are those of `train_detector`.

    Returns:
        The training history, and the detector (its file, if the run was finished).
    """
    preprocessing = backbones.preprocessing(model)
    settings = merge_settings(split_summary, model, preprocessing, training, calibration)
    run = fingerprint_of_run(settings, split_summary["fingerprint"])
    finished = kept_trainings.finished(name).find(run)
    if finished is not None:
        log.info(
            "Not trained again, a detector with these settings exists: %s", finished.detector.path
        )
        # a kill between saving the detector and removing its checkpoint leaves the checkpoint
        unfinished = fingerprint_of_training(settings, split_summary["fingerprint"])
        kept_trainings.states(name).remove(unfinished)
        return finished.history, finished.detector
    return train_detector(
        split,
        split_summary,
        pixel_cache,
        fetch_weights(model, training.weights),
        kept_trainings.states(name),
        kept_trainings.best_so_far(name),
        model,
        backbones,
        training,
        calibration,
    )


def score_run(
    detector: Detector,
    training_history: pd.DataFrame,
    split: pd.DataFrame,
    pixel_cache: PixelCache,
    kept_scores: KeptScores,
    name: str,
    evaluation: EvaluationParameters,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score one run on its validation and test subsets, unless its scores exist.

    Returns:
        Predictions, metric table and metrics as the pipeline `evaluation` makes them. The metrics
        also hold the detector's card, a description of its training, and the evaluation's settings.

    Raises:
        UserError: If the detector was trained on another split.
    """
    found = kept_scores.find(name, detector.card.run_fingerprint, evaluation)
    if found is not None:
        return found.predictions, found.metric_table, found.metrics
    predictions = predict_split(detector, split, pixel_cache, evaluation)
    metric_table, metrics = make_metrics(predictions, detector, evaluation)
    about = {
        "evaluation": evaluation.model_dump(mode="json"),
        "trained": describe_history(training_history),
    }
    return predictions, metric_table, detector.describe() | metrics | about


def tabulate(study: StudyParameters, **results: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put the results of all runs of a study into its table, and choose a row.

    Args:
        study: The study.
        results: `metrics:RUN`, `metric_table:RUN` and `split_summary:SPLIT`.

    Returns:
        The table, a row for each run; and the choice.

    Raises:
        UserError: If the latest result of a run has other settings or another split.
    """
    metrics, splits = select_results(results, "metrics"), select_results(results, "split_summary")
    _check_metrics(study, metrics, splits)
    table = tabulate_runs(study, metrics, select_results(results, "metric_table"))
    choice = choose_row(study, table)
    table["verdict"] = table["row"].map(choice["verdicts"]).fillna("")
    _log_table(study, table, splits)
    log.info("%s", say_choice(choice))
    if command := say_use(choice):
        log.info("Use its detector (with the --env of the study): %s", command)
    return table, choice


def _check_metrics(
    study: StudyParameters,
    metrics: dict[str, dict[str, Any]],
    splits: dict[str, dict[str, Any]],
) -> None:
    stale = [
        name
        for name, run in study.runs.items()
        if metrics[name]["run_fingerprint"] != _fingerprint(run, splits[run.split.name])
    ]
    if stale:
        raise UserError(
            f"the latest results of {', '.join(stale)} have other settings or another split than "
            f"the study {study.name} has now. Make them again: kedro run --pipelines {study.name} "
            "(finished runs are not trained again)"
        )


def _fingerprint(run: RunParameters, split_summary: dict[str, Any]) -> str:
    settings = merge_settings(
        split_summary, run.model, run.preprocessing, run.training, run.calibration
    )
    return fingerprint_of_run(settings, split_summary["fingerprint"])


def _log_table(
    study: StudyParameters, table: pd.DataFrame, splits: dict[str, dict[str, Any]]
) -> None:
    log.info("%s, %s", study.heading, say_split(study))
    for _, runs in table.groupby("row", sort=False):
        first, spread = runs.iloc[0], runs[BEST].std()
        published = first["published_validation_accuracy"]
        log.info(
            "  %-44s validation accuracy %.4f%s%s%s",
            first["title"], runs[BEST].mean(),
            f" ± {spread:.4f}" if pd.notna(spread) else "",
            f", the reference's {published:.4f}" if pd.notna(published) else "",
            f" ({first['verdict']})" if first["verdict"] else "",
        )  # fmt: skip
    for note in sorted({summary["note"] for summary in splits.values() if summary["note"]}):
        log.info("%s", note)


def gather_predictions(study: StudyParameters, **results: pd.DataFrame) -> pd.DataFrame:
    """Concatenate the predictions of all runs (`predictions:RUN`), with columns run and row."""
    runs = select_results(results, "predictions")
    rows = pd.concat(runs, names=["run", None]).reset_index("run")
    rows.insert(1, "row", rows["run"].map({name: run.row for name, run in study.runs.items()}))
    return rows.reset_index(drop=True)
