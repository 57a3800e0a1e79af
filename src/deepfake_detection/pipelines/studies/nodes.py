"""Nodes of a study: its runs, each trained and scored once, and what they give together."""

import logging
from typing import Any

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorFile, DetectorSlot
from deepfake_detection.models.initial_weights import fetch_weights
from deepfake_detection.models.run_identity import (
    complete_settings,
    describe_weights,
    fingerprint_of,
    identify_run,
)
from deepfake_detection.parameters import (
    Backbones,
    EvaluationParameters,
    RunParameters,
    StudyParameters,
    TrainingParameters,
)
from deepfake_detection.pipelines.evaluation.nodes import make_metrics, predict_split
from deepfake_detection.pipelines.studies.choice import choose_row, say_choice
from deepfake_detection.pipelines.studies.tables import (
    BEST,
    describe_history,
    say_split,
    select_results,
    tabulate_runs,
)
from deepfake_detection.pipelines.training.nodes import train_detector
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.results import FinishedRuns
from deepfake_detection.training.train_run import identify

log = logging.getLogger(__name__)


def check_weights(study: StudyParameters) -> None:
    """Fetch the runs' weights before anything that takes long; UserError if that fails."""
    for model, weights in {(run.model, run.training.weights) for run in study.runs.values()}:
        fetch_weights(model, weights)


def train_run(
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    pixel_cache: PixelCache,
    finished_runs: FinishedRuns,
    training_checkpoints: TrainingCheckpoints,
    best_so_far: DetectorSlot,
    model: str,
    backbones: Backbones,
    training: TrainingParameters,
) -> tuple[pd.DataFrame, pd.DataFrame, Detector | DetectorFile]:
    """Train one run of a study, unless a training of the same run is finished.

    `finished_runs` are the earlier trainings of its row. All else is as in `train_detector`, but
    the detector of a finished run is its file.
    """
    settings = RunSettings(model, backbones.preprocessing(model), training)
    run = fingerprint_of(identify(settings, split_summary))
    if finished := finished_runs.get(run):
        log.info("Not trained again, since it was with these settings: %s", finished.detector.path)
        # left by a kill between saving the detector and removing its checkpoint
        training_checkpoints.remove(run)
        return finished.read_history(), finished.read_validation_logits(), finished.detector
    return train_detector(
        split,
        split_summary,
        pixel_cache,
        fetch_weights(model, training.weights),
        training_checkpoints,
        best_so_far,
        model,
        backbones,
        training,
    )


def score_run(
    detector: Detector,
    training_history: pd.DataFrame,
    split: pd.DataFrame,
    pixel_cache: PixelCache,
    finished_scores: FinishedScores,
    evaluation: EvaluationParameters,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Score one run on its validation and test subsets, unless its scores exist.

    Returns:
        Predictions, metric table and metrics as the pipeline `evaluation` makes them. The metrics
        also hold the detector's card, a description of its training, and the evaluation's settings.

    Raises:
        UserError: If the detector was trained on another split.
    """
    if found := finished_scores.find(detector.card, evaluation):
        return found.read_predictions(), found.read_metric_table(), dict(found.metrics)
    predictions = predict_split(detector, split, pixel_cache, evaluation)
    metric_table, metrics = make_metrics(predictions, detector, evaluation)
    about = {
        "evaluation": evaluation.model_dump(mode="json"),
        "trained": describe_history(training_history),
    }
    return predictions, metric_table, detector.describe() | metrics | about


def tabulate(
    study: StudyParameters,
    predictions: pd.DataFrame,
    evaluation: EvaluationParameters,
    **results: Any,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put the results of all runs of a study into its table, and choose a row.

    `predictions` are those of all runs; `results` are `metrics:RUN`, `metric_table:RUN` and
    `split_summary:SPLIT`.

    Raises:
        UserError: If the latest result of a run has other settings or another split.
    """
    metrics, splits = select_results(results, "metrics"), select_results(results, "split_summary")
    _check_metrics(study, metrics, splits)
    table = tabulate_runs(study, metrics, select_results(results, "metric_table"))
    choice = choose_row(study, table, predictions, evaluation)
    table["verdict"] = table["row"].map(choice["verdicts"]).fillna("")
    _log_table(study, table, splits)
    log.info("%s", " ".join(say_choice(choice)))
    return table, choice


def _check_metrics(
    study: StudyParameters, metrics: dict[str, dict[str, Any]], splits: dict[str, dict[str, Any]]
) -> None:
    stale = [
        name
        for name, run in study.runs.items()
        if not _is_of_run(metrics[name], run, splits[run.split.name])
    ]
    if stale:
        raise UserError(
            f"the latest results of {', '.join(stale)} have other settings or another split than "
            f"the study {study.name} has now. Make them again: kedro run --pipelines {study.name} "
            "(finished runs are not trained again)"
        )
    automatic = {
        metrics[name]["identity"]["precision"]
        for name, run in study.runs.items()
        if run.training.precision == "auto"
    }
    if len(automatic) > 1:
        raise UserError(
            f"parameter 'training.precision' is auto, and runs of the study {study.name} were "
            f"trained in {' and '.join(sorted(automatic))}, on unlike machines. Set "
            f"{study.name}.training.precision to one of both: a table never mixes them"
        )


def _is_of_run(metrics: dict[str, Any], run: RunParameters, split_summary: dict[str, Any]) -> bool:
    """Whether metrics are of a run's settings, in whatever precision `auto` came to."""
    settings = RunSettings(run.model, run.preprocessing, run.training)
    precision = metrics.get("identity", {}).get("precision")
    identity = identify_run(
        settings.as_json(split_summary),
        split_summary["fingerprint"],
        precision=precision if run.training.precision == "auto" else run.training.precision,
        weights=describe_weights(run.training.weights),
    )
    return bool(
        metrics["run_fingerprint"] == fingerprint_of(identity)
        and complete_settings(metrics["settings"]).get("calibration")
        == run.calibration.model_dump(mode="json")
    )


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
