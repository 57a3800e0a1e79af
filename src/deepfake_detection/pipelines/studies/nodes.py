"""Nodes of a study: its runs, each made once, and what they come to together."""

import logging
from typing import Any

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.models.backbones import fetch_weights
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorFile, DetectorSlot
from deepfake_detection.models.run_identity import describe_weights, fingerprint_of, identify_run
from deepfake_detection.parameters import (
    Backbones,
    EvaluationParameters,
    RunParameters,
    StudyParameters,
    TrainingParameters,
)
from deepfake_detection.pipelines.evaluation.nodes import make_metrics, predict_split
from deepfake_detection.pipelines.studies.choice import choose_row, say_choice
from deepfake_detection.pipelines.studies.collecting import collect_results
from deepfake_detection.pipelines.studies.curves import describe_history
from deepfake_detection.pipelines.studies.folds import (
    add_pooled,
    measure_folds,
    pool_predictions,
    rank_label_issues_by_row,
)
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.pipelines.studies.tables import (
    say_split,
    summarise_rows,
    tabulate_runs,
)
from deepfake_detection.pipelines.training.nodes import train_detector
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.results import FinishedRuns
from deepfake_detection.training.train_run import identify

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
    finished_runs: FinishedRuns,
    training_checkpoints: TrainingCheckpoints,
    best_so_far: DetectorSlot,
    model: str,
    backbones: Backbones,
    training: TrainingParameters,
) -> tuple[pd.DataFrame, pd.DataFrame, Detector | DetectorFile]:
    """Train one run of a study, unless a training of the same run is finished.

    Args:
        split: As `train_detector`, and so the others.
        split_summary: Of the same split.
        pixel_cache: Holds the pixels of all images of the split.
        finished_runs: Earlier trainings of this row.
        training_checkpoints: Where unfinished runs keep their state.
        best_so_far: Where the best epoch is kept if the loss becomes infinite or NaN.
        model: The backbone.
        backbones: Preprocessing by backbone.
        training: All settings of the training.

    Returns:
        As `train_detector`; the detector of a finished run as its file.

    Raises:
        UserError: As `train_detector`.
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
    """Score one run on its validation and test subsets, unless that was done.

    Returns:
        Predictions, metric table and metrics as the pipeline `evaluation` makes them. The metrics
        also hold the detector's card, its training in figures and the evaluation's settings: all
        that the study's table takes of a run.

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


def tabulate(study: StudyParameters, *parts: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put the results of all runs of a study into its tables, and choose a row.

    Args:
        study: The study.
        parts: The metrics and metric tables of its runs, then the summaries of its splits, each in
            the study's order.

    Returns:
        The table, a row for each run; and the choice.

    Raises:
        UserError: If the latest result of a run is of other settings or another split.
    """
    runs = len(study.runs)
    metrics = dict(zip(study.runs, parts[:runs], strict=True))
    metric_tables = dict(zip(study.runs, parts[runs : 2 * runs], strict=True))
    splits = dict(zip(study.splits, parts[2 * runs :], strict=True))
    _check_metrics(study, metrics, splits)
    table = tabulate_runs(study, metrics, metric_tables)
    choice = choose_row(study, table)
    table["verdict"] = table["row"].map(choice["verdicts"]).fillna("")
    _log_table(study, table, splits)
    log.info("%s", say_choice(choice))
    return table, choice


def _check_metrics(
    study: StudyParameters,
    metrics: dict[str, dict[str, Any]],
    splits: dict[str, dict[str, Any]],
) -> None:
    stale = [
        name
        for name, run in study.runs.items()
        if not _is_of_run(metrics[name], run, splits[run.split.name])
    ]
    if stale:
        raise UserError(
            f"the latest results of {', '.join(stale)} are of other settings or another split than "
            f"the study {study.name} has now, and a table never mixes them. Make them again: "
            f"kedro run --pipelines {study.name} (what is finished is not trained again)"
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
        and metrics["settings"].get("calibration") == run.calibration.model_dump(mode="json")
    )


def _log_table(
    study: StudyParameters,
    table: pd.DataFrame,
    splits: dict[str, dict[str, Any]],
) -> None:
    log.info("%s, %s", study.heading, say_split(study))
    for _, runs in table.groupby("row", sort=False):
        first, accuracy = runs.iloc[0], runs["best_validation_accuracy"]
        spread = f" ± {accuracy.std():.4f}" if len(runs) > 1 else ""
        log.info(
            "  %-44s validation accuracy %.4f%s%s%s",
            first["title"], accuracy.mean(), spread,
            f", the reference's {first['published_validation_accuracy']:.4f}"
            if pd.notna(first["published_validation_accuracy"]) else "",
            f" ({first['verdict']})" if first["verdict"] else "",
        )  # fmt: skip
    for note in sorted({summary["note"] for summary in splits.values() if summary["note"]}):
        log.info("%s", note)


def gather_predictions(study: StudyParameters, *predictions: pd.DataFrame) -> pd.DataFrame:
    """Put the predictions of all runs below each other.

    Returns:
        run, row, and the columns of predictions: which images do all rows get wrong?
    """
    return pd.concat(
        [
            pd.DataFrame({"run": name, "row": run.row}, index=each.index).join(each)
            for (name, run), each in zip(study.runs.items(), predictions, strict=True)
        ],
        ignore_index=True,
    )


def summarise(
    study: StudyParameters, table: pd.DataFrame, fold_metrics: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Summarise each row over its seeds and folds.

    Args:
        study: The study.
        table: Its runs.
        fold_metrics: Metrics of pooled out-of-fold predictions, for a cross-validation.

    Returns:
        As `summarise_rows`.
    """
    summary = summarise_rows(study, table)
    return summary if fold_metrics is None else add_pooled(summary, fold_metrics)


def collect(
    study: StudyParameters,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    choice: dict[str, Any],
    *parts: Any,
) -> StudyResults:
    """Put together what the study's figures and its page show.

    Args:
        study: The study.
        table: Its runs.
        summary: Its rows over seeds and folds.
        choice: The chosen row.
        parts: The histories of its runs, then the summaries of its splits, both in the study's
            order, and what the split method changes, where rows differ in it alone.
    """
    runs, splits = len(study.runs), len(study.splits)
    histories = dict(zip(study.runs, parts[:runs], strict=True))
    summaries = dict(zip(study.splits, parts[runs : runs + splits], strict=True))
    inflation = parts[runs + splits] if len(parts) > runs + splits else None
    return collect_results(study, table, summary, inflation, choice, histories, summaries)


def pool_folds(
    study: StudyParameters, evaluation: EvaluationParameters, *parts: Any
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Pool the out-of-fold predictions of a cross-validation, measure them, and doubt labels.

    Args:
        study: The study.
        evaluation: Intervals, and how many doubted labels are listed.
        parts: The metrics of its runs, then their predictions, both in the study's order.

    Returns:
        Predictions, metrics and doubted labels, each by row and seed.
    """
    metrics = dict(zip(study.runs, parts[: len(study.runs)], strict=True))
    predictions = dict(zip(study.runs, parts[len(study.runs) :], strict=True))
    images, sources = pool_predictions(study, metrics, predictions)
    pooled = measure_folds(images, sources, evaluation)
    doubted = rank_label_issues_by_row(images, evaluation.label_issues)
    _log_folds(pooled)
    return images, pooled, doubted


def _log_folds(metrics: pd.DataFrame) -> None:
    by_image = metrics[metrics["level"] == "image"]
    for (row, seed), pooled in by_image.groupby(["row", "seed"], sort=False):
        accuracy, area = (
            pooled[pooled["metric"] == metric].iloc[0] for metric in ("accuracy", "roc_auc")
        )
        log.info(
            "Out of fold, %s, seed %d: accuracy %.4f (%.2f–%.2f), ROC AUC %.4f (%.2f–%.2f) over "
            "%d images",
            row, seed, accuracy["value"], accuracy["low"], accuracy["high"],
            area["value"], area["low"], area["high"], accuracy["n"],
        )  # fmt: skip
