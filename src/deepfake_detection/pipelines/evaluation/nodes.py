"""Nodes of `evaluation`: from a detector and labelled images to predictions and metrics."""

import logging
import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from deepfake_detection.images.fingerprints import unpack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.caveats import EXTERNAL, check_same_run, explain_subset
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.metrics.metrics import Metric, average_over_sources, measure
from deepfake_detection.metrics.predicting import KEPT_COLUMNS, check_split, predict
from deepfake_detection.models.detector import CLASS_NAMES, Detector
from deepfake_detection.parameters import EvaluationParameters, ImageSetParameters
from deepfake_detection.pipelines.evaluation.elsewhere import put_beside
from deepfake_detection.pipelines.evaluation.label_issues import rank_label_issues

log = logging.getLogger(__name__)


def take_all_images(image_index: pd.DataFrame, image_set: ImageSetParameters) -> pd.DataFrame:
    """Make a set from elsewhere into a split of one subset, `external`."""
    if image_set.note:
        log.info("%s", image_set.note)
    return image_index.assign(subset=EXTERNAL)[["sha256", *KEPT_COLUMNS]]


def predict_split(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelCache,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Score the validation and test subsets of the split that a detector was trained on.

    Returns:
        A row for each image: path, class_name, label, source, group, subset, logit (fake minus
        real), fake_probability, predicted (1 fake, 0 real).

    Raises:
        UserError: If the detector was trained on another split.
    """
    check_split(detector, split)
    scored = split[split["subset"] != "train"]
    return predict(detector, split, scored, scored_pixels, evaluation)


def predict_external(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelCache,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Score all images of a set from elsewhere.

    Returns:
        As `predict_split`.

    Raises:
        UserError: If the detector was trained on some of them.
    """
    chosen_on = split["sha256"].isin(unpack_hashes(detector.validated_on))
    if chosen_on.any():
        first = split.loc[chosen_on, "path"].iloc[0]
        log.warning(
            "%d of these %d images chose %s of the detector, the first being %s: on them the score "
            "is too high",
            chosen_on.sum(), len(split), choices_on_validation(detector.card.calibration), first,
        )  # fmt: skip
    return predict(detector, split, split, scored_pixels, evaluation)


def measure_predictions(
    predictions: pd.DataFrame, detector: Detector, evaluation: EvaluationParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure each scored subset, image by image and source by source, and say the main figures.

    Returns:
        As `make_metrics`.

    Raises:
        UserError: If the predictions are of another run than the detector.
    """
    check_same_run(detector.card.run_fingerprint, predictions=predictions)
    table, metrics = make_metrics(predictions, detector, evaluation)
    _log_metrics(metrics, metrics["chosen_on_validation"])
    _warn_of_few_groups(predictions, evaluation.few_groups)
    return table, metrics


def make_metrics(
    predictions: pd.DataFrame, detector: Detector, evaluation: EvaluationParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Make the metrics of each scored subset.

    Returns:
        The metric table: metric, subset, level, class_name, value, low, high, n, note; and the same
        as nested JSON, with the fingerprints of the run and its split.
    """
    card = detector.card
    chosen = choices_on_validation(card.calibration)
    sources = average_over_sources(predictions, card.threshold, card.temperature)
    rows = [
        metric
        for level, table in (("image", predictions), ("source", sources))
        for subset, of_subset in table.groupby("subset", sort=False)
        for metric in measure(
            of_subset,
            str(subset),
            level,
            confidence=evaluation.confidence,
            calibration_bins=evaluation.calibration_bins,
            temperature=card.temperature,
        )
    ]
    table = pd.DataFrame([asdict(row) for row in rows])
    table["note"] = [_join_notes(row, card.split["method"], chosen) for row in rows]
    metrics = {
        "run_fingerprint": card.run_fingerprint,
        "split_fingerprint": card.split["fingerprint"],
        "threshold": card.threshold,
        "temperature": card.temperature,
        "chosen_on_validation": chosen,
        "split_method": card.split["method"],
        "note": card.split["note"],
        "subsets": _nest(table),
    }
    return table, metrics


def compare_with_own_split(
    metric_table: pd.DataFrame, detector: Detector, finished_scores: FinishedScores
) -> pd.DataFrame:
    """Put a detector's metrics on a set from elsewhere beside those on its own split.

    Args:
        metric_table: Of the set from elsewhere.
        detector: What was scored.
        finished_scores: Where those of its own split are, if they are known here.

    Returns:
        As `put_beside`.
    """
    own = finished_scores.find_metric_table(detector.card.run_fingerprint)
    beside = put_beside(metric_table, own)
    if own is None:
        log.info(
            "The scores of this detector on its own split are not known here, so nothing stands "
            "beside these: kedro run --pipelines evaluation makes them (with its model=… or run=…)"
        )
        return beside
    by_image = beside[(beside["level"] == "image") & beside["class_name"].isna()]
    for line in by_image[by_image["metric"].isin(["accuracy", "roc_auc"])].to_dict("records"):
        log.info(
            "Own %s to this set: %s %.4f (%.2f–%.2f) to %.4f (%.2f–%.2f)",
            line["own_subset"], line["metric"].replace("roc_auc", "ROC AUC"),
            *(line[f"{whose}_{name}"] for whose in ("own", "external")
              for name in ("value", "low", "high")),
        )  # fmt: skip
    return beside


def list_label_issues(
    predictions: pd.DataFrame, detector: Detector, evaluation: EvaluationParameters
) -> pd.DataFrame:
    """List the scored images whose label the predictions doubt most, of all subsets together.

    They are candidates for images in the wrong class folder; many are the detector's own errors.

    Returns:
        As `rank_label_issues`.
    """
    doubted = rank_label_issues(predictions, detector.card.temperature, evaluation.label_issues)
    if len(doubted):
        first = doubted.iloc[0]
        log.info(
            "Labels to look at: %d images, first %s (%s), whose label %s has a probability of %.2g",
            len(doubted), first["path"], first["subset"],
            CLASS_NAMES[first["label"]], first["label_probability"],
        )  # fmt: skip
    return doubted


def _join_notes(metric: Metric, method: str, chosen: str) -> str | None:
    """What a metric says of itself, and what its subset says of it where it has a value."""
    if math.isnan(metric.value):
        return metric.note
    basis = explain_subset(metric.subset, method, chosen)
    return "; ".join(note for note in (metric.note, basis) if note) or None


def _warn_of_few_groups(predictions: pd.DataFrame, few: int) -> None:
    for subset, groups in predictions.groupby("subset", sort=False)["group"].nunique().items():
        if groups < few:
            log.warning(
                "%s holds only %d groups of images (few: below %d): read its intervals as rough",
                subset, groups, few,
            )  # fmt: skip


def _nest(table: pd.DataFrame) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for subset, of_subset in table.groupby("subset", sort=False):
        levels: dict[str, Any] = {}
        for row in of_subset.to_dict("records"):
            level = levels.setdefault(f"{row['level']}s", {})
            figures = {
                name: None if math.isnan(row[name]) else row[name]
                for name in ("value", "low", "high", "n")
            }
            if isinstance(row["class_name"], str):
                level.setdefault(row["metric"], {})[row["class_name"]] = figures
            else:
                level[row["metric"]] = figures
        nested[str(subset)] = levels
    return nested


def _say(figures: dict[str, float | None]) -> str:
    if figures["value"] is None:
        return "undefined"
    said = f"{figures['value']:.4f}"
    return (
        said if figures["low"] is None else f"{said} ({figures['low']:.2f}–{figures['high']:.2f})"
    )


def _log_metrics(metrics: dict[str, Any], chosen: str) -> None:
    for subset, levels in metrics["subsets"].items():
        images = levels["images"]
        shown = {
            "accuracy": images["accuracy"],
            "ROC AUC": images["roc_auc"],
            "log loss": images["log_loss"],
            "recall of fakes": images["recall"]["fake"],
            "of real ones": images["recall"]["real"],
        }
        figures = ", ".join(f"{name} {_say(figure)}" for name, figure in shown.items())
        basis = explain_subset(subset, metrics["split_method"], chosen)
        log.info("Score on %s: %s%s", subset, figures, f" ({basis})" if basis else "")
    if metrics["note"]:
        log.info("%s", metrics["note"])
