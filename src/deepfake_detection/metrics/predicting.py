"""From a detector and labelled images to predictions."""

from pathlib import Path

import numpy as np
import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import fingerprint_of_split, unpack_hashes
from deepfake_detection.images.pixel_cache import FolderPixels, PixelCache, PixelRequest
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.devices import choose_device
from deepfake_detection.parameters import EvaluationParameters

KEPT_COLUMNS = ["path", "class_name", "label", "source", "group", "subset"]


def request_scored_pixels(
    training_images: Path, split: pd.DataFrame, detector: Detector, pixels: str
) -> PixelRequest:
    """Ask for the pixels of a split at the detector's own sizes, from `cache` or `files`."""
    asked = "files" if detector.reads_files else pixels
    return PixelRequest.of(training_images, split, detector.preprocessing, asked)


def check_split(detector: Detector, split: pd.DataFrame) -> None:
    """Raise a `UserError` unless a split is the one that a detector was trained on."""
    if detector.card.imported_from is not None:
        raise UserError(
            "the detector was imported, and its training images are unknown: it has no split of "
            "its own to be scored on. Score it as on a set from elsewhere, with kedro run "
            "--pipelines external_evaluation --params images=FOLDER,detector=FILE"
        )
    ours, its = fingerprint_of_split(split), detector.card.split["fingerprint"]
    if ours != its:
        raise UserError(
            f"the detector was trained on another split ({its[:12]}) than the latest "
            f"({ours[:12]}): its score on this one could not be believed. Train again with "
            "kedro run --pipelines training, or pick its split with --load-versions split:VERSION."
        )


def check_unseen(detector: Detector, scored: pd.DataFrame, name: str = "the detector") -> None:
    """Raise a `UserError` if a detector, called `name`, was trained on some of these images."""
    seen = scored["sha256"].isin(unpack_hashes(detector.trained_on))
    if seen.any():
        raise UserError(
            f"{name} was trained on {seen.sum()} of the {len(scored)} images that it is to "
            f"be scored on, the first being {scored.loc[seen, 'path'].iloc[0]}: it has seen them. "
            "Take them out of the image folder, or score another detector."
        )


def predict(
    detector: Detector,
    split: pd.DataFrame,
    scored: pd.DataFrame,
    scored_pixels: PixelCache | FolderPixels,
    evaluation: EvaluationParameters,
    name: str = "the detector",
) -> pd.DataFrame:
    """Score some images of a split, none of which the detector was trained on.

    The pixels are those of the whole split. Messages call the detector `name`.

    Returns:
        A row for each image: path, class_name, label, source, group, subset, logit (fake minus
        real), fake_probability, predicted (1 fake, 0 real), verdict (real, fake, unsure),
        unlikeness (in [0, 1], see `TrainingDistance`; NaN if unknown), run_fingerprint. Scores
        without a known scale stand as logits; then fake_probability and predicted are NaN.

    Raises:
        UserError: If the detector was trained on some of them.
    """
    check_unseen(detector, scored, name)
    pixels = scored_pixels.open(split["sha256"].tolist(), detector.preprocessing)
    logits, distances = detector.describe_pixels(
        pixels.array,
        pixels.rows(scored["sha256"].tolist()),
        batch_size=evaluation.batch_size,
        device=choose_device(evaluation.device),
    )
    probability = detector.probabilities(logits)
    verdicts, _ = detector.verdict_rule.judge(probability, distances)
    predictions = scored[KEPT_COLUMNS].assign(
        logit=logits,
        fake_probability=probability,
        predicted=(probability >= detector.card.threshold).astype("int64"),
        verdict=verdicts,
        unlikeness=detector.unlikeness(distances),
        run_fingerprint=detector.card.run_fingerprint,
    )
    if not detector.card.has_scale:
        predictions = predictions.assign(
            fake_probability=np.nan, predicted=np.nan, verdict="unsure"
        )
    return predictions.reset_index(drop=True)
