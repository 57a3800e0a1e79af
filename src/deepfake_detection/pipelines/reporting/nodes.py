"""The nodes of reporting: plain functions from tables to figures and to the page."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.metrics.caveats import check_same_run
from deepfake_detection.parameters import EvaluationParameters, ReportingParameters
from deepfake_detection.pipelines.reporting.figures import (
    draw_accuracy,
    draw_confusion_matrix,
    draw_loss,
    draw_precision_recall,
    draw_roc,
)
from deepfake_detection.pipelines.reporting.galleries import Kind, collect_gallery, draw_gallery
from deepfake_detection.pipelines.reporting.page import Report, render_page
from deepfake_detection.pipelines.reporting.reliability import draw_reliability


class Described(Protocol):
    """Anything that says in plain data what it is, as a detector does."""

    def describe(self) -> dict[str, Any]:
        """All that is known of it, as plain JSON."""


def describe_scored_detector(
    detector: Described, metrics: Mapping[str, Any], training_history: pd.DataFrame
) -> dict[str, Any]:
    """The detector's description, once it is sure that metrics and history are its own.

    Args:
        detector: The trained detector.
        metrics: What the evaluation found, with the `run_fingerprint` of the detector it scored.
        training_history: A row for each epoch: epoch, validation_accuracy.

    Raises:
        UserError: If the metrics or the history are of another detector.
    """
    description = detector.describe()
    check_same_run(description["run_fingerprint"], metrics=metrics)
    epoch, best = description["best_epoch"], description["best_validation_accuracy"]
    its_epoch = training_history[training_history["epoch"] == epoch]
    accuracies = its_epoch["validation_accuracy"].tolist()
    # a table that was written as text and read again may differ in the last digit
    if not any(_is_same(each, best) for each in accuracies):
        raise UserError(
            "the training history is of another detector than the one loaded: its epoch "
            f"{epoch} has another validation accuracy. Pick versions that "
            "belong together with --load-versions, or run kedro run --pipelines training again."
        )
    return description


def _is_same(accuracy: float, best: float | None) -> bool:
    # a training without validation has no validation accuracy, in neither place
    return math.isnan(accuracy) if best is None else math.isclose(accuracy, best)


def draw_loss_curve(training_history: pd.DataFrame) -> Figure:
    """Loss of train and validation by epoch.

    Args:
        training_history: A row for each epoch: epoch, train_loss, validation_loss,
            validation_accuracy.
    """
    return draw_loss(training_history)


def draw_accuracy_curve(training_history: pd.DataFrame) -> Figure:
    """Accuracy of train and validation by epoch.

    Args:
        training_history: A row for each epoch: epoch, train_accuracy, validation_accuracy.
    """
    return draw_accuracy(training_history)


def draw_confusion_matrices(predictions: pd.DataFrame) -> Figure:
    """Confusion matrix of each scored subset, the headline subset first.

    Args:
        predictions: A row for each scored image: label, predicted, subset.
    """
    return draw_confusion_matrix(predictions)


def draw_roc_curves(predictions: pd.DataFrame, description: Mapping[str, Any]) -> Figure:
    """ROC curve of each scored subset, with the detector's operating point.

    Args:
        predictions: A row for each scored image: label, logit, predicted, subset.
        description: The detector's own, with its threshold.
    """
    return draw_roc(predictions, float(description["threshold"]))


def draw_precision_recall_curves(
    predictions: pd.DataFrame, description: Mapping[str, Any]
) -> Figure:
    """Precision by recall of each scored subset, with the detector's operating point.

    Args:
        predictions: A row for each scored image: label, logit, predicted, subset.
        description: The detector's own, with its threshold.
    """
    return draw_precision_recall(predictions, float(description["threshold"]))


def draw_reliability_diagram(predictions: pd.DataFrame, evaluation: EvaluationParameters) -> Figure:
    """Share of fakes by fake probability for each scored subset, with images in each bin.

    Args:
        predictions: A row for each scored image: label, fake_probability, group, subset.
        evaluation: Bins, and confidence of the intervals.
    """
    return draw_reliability(predictions, evaluation.calibration_bins, evaluation.confidence)


def show_false_negatives(
    predictions: pd.DataFrame, folder: Path, parameters: ReportingParameters
) -> Figure:
    """Gallery of the fakes that the detector took for real, the most confident first.

    Args:
        predictions: A row for each scored image: path, class_name, label, source, subset, logit,
            fake_probability, predicted.
        folder: The image folder.
        parameters: Size and columns of the gallery.
    """
    return _show(predictions, "false negative", folder, parameters)


def show_false_positives(
    predictions: pd.DataFrame, folder: Path, parameters: ReportingParameters
) -> Figure:
    """Gallery of the real images that the detector took for fakes, the most confident first.

    Args:
        predictions: As for the false negatives.
        folder: The image folder.
        parameters: Size and columns of the gallery.
    """
    return _show(predictions, "false positive", folder, parameters)


def _show(
    predictions: pd.DataFrame, kind: Kind, folder: Path, parameters: ReportingParameters
) -> Figure:
    gallery = collect_gallery(predictions, kind, parameters.gallery_size)
    return draw_gallery(gallery, folder, parameters.gallery_columns)


def write_report(
    *,
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    leakage_summary: Mapping[str, Any],
    rejected_images: pd.DataFrame,
    training_history: pd.DataFrame,
    predictions: pd.DataFrame,
    metric_table: pd.DataFrame,
    label_issues: pd.DataFrame,
    robustness_table: pd.DataFrame,
    explained_cases: Sequence[ExplainedCase],
    false_case_measures: pd.DataFrame,
    folder: Path,
    parameters: ReportingParameters,
    evaluation: EvaluationParameters,
) -> str:
    """The report as one self-contained HTML page.

    Args:
        description: The detector's own, as `describe()` gives it.
        split_summary: method, ratios, seed, images, groups, groups_in_more_than_one_subset,
            fingerprint.
        leakage_summary: split_fingerprint, found, compared, settings.
        rejected_images: path, reason.
        training_history: A row for each epoch: epoch, learning rates, losses, accuracies,
            seconds, images_per_second.
        predictions: A row for each scored image.
        metric_table: metric, subset, level, class_name, value, n, note, and perhaps low, high.
        label_issues: subset, path, class_name, label, source, label_probability,
            source_label_probability, the most doubted first.
        robustness_table: run_fingerprint, subset, distortion, strength, strength_name, metric,
            value, low, high, n. Of another run's it is left out, and the page says so.
        explained_cases: Those of the headline subset that have a heat map; a false case that is
            not among them is shown without.
        false_case_measures: run_fingerprint, kind, region, measure, false_median, right_median,
            effect, low, high, n_false, n_right, differs, note. As the robustness table.
        folder: The image folder.
        parameters: Size of the galleries.
        evaluation: Bins of the reliability diagram, and confidence of its intervals.
    """
    return render_page(
        Report(
            description=description,
            split_summary=split_summary,
            leakage_summary=leakage_summary,
            rejected_images=rejected_images,
            history=training_history,
            predictions=predictions,
            metric_table=metric_table,
            label_issues=label_issues,
            robustness_table=robustness_table,
            explained_cases=explained_cases,
            false_case_measures=false_case_measures,
            folder=folder,
            cases_shown=parameters.gallery_size,
            label_issues_shown=parameters.label_issues_shown,
            calibration_bins=evaluation.calibration_bins,
            confidence=evaluation.confidence,
        )
    )
