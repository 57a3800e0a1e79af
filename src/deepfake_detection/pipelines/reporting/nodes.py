"""The nodes of reporting: plain functions from tables to figures and to the page."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ReportingParameters
from deepfake_detection.pipelines.reporting.figures import (
    draw_accuracy,
    draw_confusion_matrix,
    draw_loss,
    draw_roc,
)
from deepfake_detection.pipelines.reporting.galleries import Kind, collect_gallery, draw_gallery
from deepfake_detection.pipelines.reporting.page import Report, render_page
from deepfake_detection.scoring.predicting import check_metrics


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
    check_metrics(description["run_fingerprint"], metrics)
    its_epoch = training_history[training_history["epoch"] == description["best_epoch"]]
    accuracies = its_epoch["validation_accuracy"].tolist()
    # a table that was written as text and read again may differ in the last digit
    if not any(math.isclose(each, description["best_validation_accuracy"]) for each in accuracies):
        raise UserError(
            "the training history is of another detector than the one loaded: its epoch "
            f"{description['best_epoch']} has another validation accuracy. Pick versions that "
            "belong together with --load-versions, or run kedro run --pipelines training again."
        )
    return description


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


def show_missed_fakes(
    predictions: pd.DataFrame, folder: Path, parameters: ReportingParameters
) -> Figure:
    """Gallery of the fakes that the detector took for real, the most confident first.

    Args:
        predictions: A row for each scored image: path, class_name, label, source, subset, logit,
            fake_probability, predicted.
        folder: The image folder.
        parameters: Size and columns of the gallery.
    """
    return _show(predictions, "missed fake", folder, parameters)


def show_false_alarms(
    predictions: pd.DataFrame, folder: Path, parameters: ReportingParameters
) -> Figure:
    """Gallery of the real images that the detector took for fakes, the most confident first.

    Args:
        predictions: As for the missed fakes.
        folder: The image folder.
        parameters: Size and columns of the gallery.
    """
    return _show(predictions, "false alarm", folder, parameters)


def _show(
    predictions: pd.DataFrame, kind: Kind, folder: Path, parameters: ReportingParameters
) -> Figure:
    gallery = collect_gallery(predictions, kind, parameters.gallery_size)
    return draw_gallery(gallery, folder, parameters.gallery_columns)


def write_report(
    *,
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    rejected_images: pd.DataFrame,
    training_history: pd.DataFrame,
    predictions: pd.DataFrame,
    metric_table: pd.DataFrame,
    folder: Path,
    parameters: ReportingParameters,
) -> str:
    """The report as one self-contained HTML page.

    Args:
        description: The detector's own, as `describe()` gives it.
        split_summary: method, ratios, seed, images, groups, groups_in_more_than_one_subset,
            fingerprint.
        rejected_images: path, reason.
        training_history: A row for each epoch: epoch, learning rates, losses, accuracies,
            seconds, images_per_second.
        predictions: A row for each scored image.
        metric_table: metric, subset, level, class_name, value, n, note, and perhaps low, high.
        folder: The image folder.
        parameters: Size of the galleries.
    """
    return render_page(
        Report(
            description=description,
            split_summary=split_summary,
            rejected_images=rejected_images,
            history=training_history,
            predictions=predictions,
            metric_table=metric_table,
            folder=folder,
            gallery_size=parameters.gallery_size,
        )
    )
