"""Nodes of `evaluation`: from a detector and labelled images to predictions and metrics."""

import logging
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detection.detector.detector import Detector
from deepfake_detection.detector.device import choose_device
from deepfake_detection.detector.fingerprints import fingerprint_of_split, unpack_hashes
from deepfake_detection.detector.pixels import PixelRequest, PixelStores
from deepfake_detection.errors import UserError
from deepfake_detection.parameters import EvaluationParameters, ImageSetParameters
from deepfake_detection.pipelines.evaluation.metrics import average_over_sources, measure

log = logging.getLogger(__name__)

EXTERNAL = "external"
_KEPT_COLUMNS = ["path", "class_name", "label", "source", "group", "subset"]


def take_all_images(image_index: pd.DataFrame, image_set: ImageSetParameters) -> pd.DataFrame:
    """Make a set from elsewhere into a split of one subset, `external`."""
    if image_set.note:
        log.info("%s", image_set.note)
    return image_index.assign(subset=EXTERNAL)[["sha256", *_KEPT_COLUMNS]]


def request_scored_pixels(
    training_images: Path, split: pd.DataFrame, detector: Detector, pixels: str
) -> PixelRequest:
    """Ask for the pixels of a split at the detector's own sizes, in a `store` or `files`."""
    return PixelRequest(
        training_images,
        split["path"].tolist(),
        split["sha256"].tolist(),
        detector.preprocessing,
        stored=pixels == "store",
    )


def predict_split(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelStores,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Score the validation and test subsets of the split that a detector was trained on.

    Returns:
        A row for each image: path, class_name, label, source, group, subset, logit (fake minus
        real), fake_probability, predicted (1 fake, 0 real).

    Raises:
        UserError: If the detector was trained on another split.
    """
    ours, its = fingerprint_of_split(split), detector.card.split["fingerprint"]
    if ours != its:
        raise UserError(
            f"the detector was trained on another split ({its[:12]}) than the latest "
            f"({ours[:12]}): its score on this one could not be believed. Train again with "
            "kedro run --pipelines training, or pick its split with --load-versions split:VERSION."
        )
    scored = split[split["subset"] != "train"]
    return _predict(detector, split, scored, scored_pixels, evaluation)


def predict_external(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelStores,
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
            "%d of these %d images chose the detector's epoch, the first being %s: on them the "
            "score is too high",
            chosen_on.sum(), len(split), first,
        )  # fmt: skip
    return _predict(detector, split, split, scored_pixels, evaluation)


def _predict(
    detector: Detector,
    split: pd.DataFrame,
    scored: pd.DataFrame,
    scored_pixels: PixelStores,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    seen = scored["sha256"].isin(unpack_hashes(detector.trained_on))
    if seen.any():
        raise UserError(
            f"the detector was trained on {seen.sum()} of the {len(scored)} images that it is to "
            f"be scored on, the first being {scored.loc[seen, 'path'].iloc[0]}: it has seen them. "
            "Take them out of the image folder, or score another detector."
        )
    device = choose_device(evaluation.device)
    pixels = scored_pixels.open(split["sha256"].tolist(), detector.preprocessing)
    logits = detector.logits(
        pixels.array,
        pixels.rows(scored["sha256"].tolist()),
        batch_size=evaluation.batch_size,
        device=device,
    )
    probability = detector.probabilities(logits)
    predictions = scored[_KEPT_COLUMNS].assign(
        logit=logits,
        fake_probability=probability,
        predicted=(probability >= detector.card.threshold).astype("int64"),
    )
    return predictions.reset_index(drop=True)


def measure_predictions(
    predictions: pd.DataFrame, detector: Detector, evaluation: EvaluationParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure each scored subset, image by image and source by source.

    Returns:
        The metric table: metric, subset, level, class_name, value, low, high, n, note; and the same
        as nested JSON, with the fingerprints of the run and its split.
    """
    card = detector.card
    sources = average_over_sources(predictions, card.threshold, card.temperature)
    rows = [
        metric
        for level, table in (("image", predictions), ("source", sources))
        for subset, of_subset in table.groupby("subset", sort=False)
        for metric in measure(of_subset, str(subset), level, evaluation.confidence)
    ]
    table = pd.DataFrame([asdict(row) for row in rows])
    basis = table["subset"].map(lambda subset: explain_subset(subset, card.split["method"]))
    table["note"] = table["note"].fillna(basis)
    metrics = {
        "run_fingerprint": card.run_fingerprint,
        "split_fingerprint": card.split["fingerprint"],
        "split_method": card.split["method"],
        "note": card.split["note"],
        "subsets": _nest(table),
    }
    _log_metrics(metrics)
    return table, metrics


def explain_subset(subset: str, method: str) -> str | None:
    """What a score on this subset must be read with; None for nothing."""
    notes = []
    if subset == "validation":
        notes.append("validation also chose the epoch")
    if subset != EXTERNAL and method == "individual":
        notes.append("inflated: neighbours of these images were trained on")
    return "; ".join(notes) or None


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


def _log_metrics(metrics: dict[str, Any]) -> None:
    for subset, levels in metrics["subsets"].items():
        images = levels["images"]
        shown = {
            "accuracy": images["accuracy"],
            "ROC AUC": images["roc_auc"],
            "recall of fakes": images["recall"]["fake"],
            "of real ones": images["recall"]["real"],
        }
        figures = ", ".join(f"{name} {_say(figure)}" for name, figure in shown.items())
        basis = explain_subset(subset, metrics["split_method"])
        log.info("Score on %s: %s%s", subset, figures, f" ({basis})" if basis else "")
    if metrics["note"]:
        log.info("%s", metrics["note"])
