"""Nodes of a study: its runs, each made once, and what they come to together."""

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
    """Train one run of a study, unless that was done with the same settings and split.

    Args:
        split: As `train_detector`, and so the others.
        split_summary: Of the same split.
        pixel_cache: Holds the pixels of all images of the split.
        kept_trainings: What the study's trainings left, and keep while they run.
        name: Of the run.
        model: The backbone.
        backbones: Preprocessing by backbone.
        training: The recipe.
        calibration: How threshold and temperature are set.

    Returns:
        The training history, and the detector: as the file that it is, if it was there.

    Raises:
        UserError: As `train_detector`.
    """
    preprocessing = backbones.preprocessing(model)
    settings = merge_settings(split_summary, model, preprocessing, training, calibration)
    run = fingerprint_of_run(settings, split_summary["fingerprint"])
    finished = kept_trainings.finished(name).find(run)
    if finished is not None:
        log.info("Not trained again, since it was with these settings: %s", finished.detector.path)
        # what a kill between saving the detector and removing its state left
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
    """Score one run on its validation and test subsets, unless that was done.

    Returns:
        Predictions, metric table and metrics as the pipeline `evaluation` makes them. The metrics
        hold the detector's card too, its training in figures, and how it was evaluated: all that
        the study's table takes of a run.

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
        if metrics[name]["run_fingerprint"] != _fingerprint(run, splits[run.split.name])
    ]
    if stale:
        raise UserError(
            f"the latest results of {', '.join(stale)} are of other settings or another split than "
            f"the study {study.name} has now, and a table never mixes them. Make them again: "
            f"kedro run --pipelines {study.name} (what is finished is not trained again)"
        )


def _fingerprint(run: RunParameters, split_summary: dict[str, Any]) -> str:
    settings = merge_settings(
        split_summary, run.model, run.preprocessing, run.training, run.calibration
    )
    return fingerprint_of_run(settings, split_summary["fingerprint"])


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


def adopt_chosen(
    study: StudyParameters,
    choice: dict[str, Any],
    model: str,
    kept_trainings: KeptTrainings,
    *parts: Any,
) -> tuple[pd.DataFrame, dict[str, Any], pd.DataFrame, DetectorFile]:
    """Make the chosen run's detector the project's, with the split that it was trained on.

    Args:
        study: The study.
        choice: What was chosen.
        model: The project's backbone, in whose folder results lie.
        kept_trainings: What the study's trainings left.
        parts: The metrics of its runs, then its splits, then their summaries, each in the study's
            order.

    Returns:
        split, split_summary, training_history, detector.

    Raises:
        UserError: If nothing was chosen, or results of another backbone are asked for.
    """
    if choice["run"] is None:
        raise UserError(
            f"nothing of {study.name} can be adopted, since no row is chosen: {choice['reason']} "
            f"({study.name}.overfit_above sets the limit, null lifts it)"
        )
    if choice["model"] != model:
        raise UserError(
            f"the chosen run of {study.name} is of {choice['model']}, and results of {model} are "
            f"asked for: kedro run --pipelines {study.name} --params "
            f"{study.name}.adopt=true,model={choice['model']}"
        )
    runs, names = len(study.runs), list(study.splits)
    metrics = dict(zip(study.runs, parts[:runs], strict=True))
    at = runs + names.index(study.runs[choice["run"]].split.name)
    split, split_summary = parts[at], parts[at + len(names)]
    run = choice["run"]
    training = kept_trainings.finished(run).find(metrics[run]["run_fingerprint"])
    if training is None:
        raise UserError(f"the detector of {study.name}.{choice['run']} is not there any more")
    log.info(
        "The project's detector is now that of %s.%s; kedro run --pipelines "
        "evaluation,robustness,reporting scores it and writes its report",
        study.name, choice["run"],
    )  # fmt: skip
    return split, split_summary, training.history, training.detector
