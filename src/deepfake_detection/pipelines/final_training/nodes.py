"""Nodes of `final_training`: from all labelled images to a detector for use."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError
from torch import Tensor

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.images.split_summary import describe_split
from deepfake_detection.models.detector import Detector, DetectorCard
from deepfake_detection.models.initial_weights import fetch_weights
from deepfake_detection.models.run_identity import MACHINE_SETTINGS
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.models.training_distance import TrainingDistance
from deepfake_detection.parameters import (
    FinalTrainingParameters,
    ImageSetParameters,
    Ratios,
    TrainingParameters,
    describe_problems,
)
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.train_run import train_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinalRun:
    """A run that was scored, to be trained again on all images."""

    settings: RunSettings  # device and checkpoints as this machine's parameters say
    card: DetectorCard  # of the run's detector
    trained_on: frozenset[bytes]  # SHA-256 of its images
    training_distance: TrainingDistance | None  # of the run's detector


def plan_final_run(
    detector: Detector,
    model: str,
    training: TrainingParameters,
    final_training: FinalTrainingParameters,
) -> FinalRun:
    """Take the settings and the number of epochs from the run of a detector that was scored.

    Result folders are named after `model`. What to compute on, and when to save a checkpoint, is
    taken from `training`.

    Raises:
        UserError: If the detector is of another backbone than the result folders, was itself
            trained on all images, lacks settings of this version, or its run had fewer epochs.
    """
    card = detector.card
    if card.backbone != model:
        raise UserError(
            f"the detector is of {card.backbone}, while results would lie in folders of {model}: "
            f"add model={card.backbone} to --params"
        )
    if card.imported_from is not None:
        raise UserError(
            "this detector was imported, and how it was trained is unknown. Name that of a run of "
            "this project: --params detector=path/to/file"
        )
    if card.vouched_by or card.best_validation_accuracy is None:
        raise UserError(
            "this detector was itself trained on all images, and nothing has scored its settings. "
            "Name that of a run which was: --params detector=path/to/file"
        )
    own = training.model_dump(mode="json", include=set(MACHINE_SETTINGS))
    try:
        repeated = TrainingParameters.model_validate(card.settings.get("training", {}) | own)
    except ValidationError as error:
        raise UserError(
            "the detector's settings are not those of this version of deepfake-detection: "
            f"{describe_problems(error, TrainingParameters)}. Train again with kedro run "
            "--pipelines training"
        ) from None
    epochs = card.best_epoch if final_training.epochs is None else final_training.epochs
    if epochs > repeated.epochs:
        raise UserError(
            f"parameter 'final_training.epochs' is {epochs}, and the run had {repeated.epochs}: "
            "its learning-rate schedule ends there. null takes its best epoch"
        )
    log.info(
        "Repeating run %s on all images for %d of its %d epochs; its validation accuracy, in epoch "
        "%d, was %.4f (split by %s)",
        card.run_fingerprint[:12], epochs, repeated.epochs, card.best_epoch,
        card.best_validation_accuracy, card.split["method"],
    )  # fmt: skip
    settings = RunSettings(card.backbone, detector.preprocessing, repeated, epochs)
    return FinalRun(settings, card, detector.hashes_trained_on, detector.training_distance)


def fetch_weights_of_run(final_run: FinalRun) -> dict[str, Tensor]:
    """Get the weights that the run started from (see `fetch_weights`)."""
    return fetch_weights(final_run.settings.model, final_run.settings.training.weights)


def take_all_images(
    image_index: pd.DataFrame, final_run: FinalRun, image_set: ImageSetParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put all labelled images into the train subset.

    Returns:
        The split, a row for each image: path, sha256, class_name, label, source, group, subset;
        and its summary, as `describe_split`.
    """
    columns = ["path", "sha256", "class_name", "label", "source", "group"]
    split = image_index[columns].assign(subset="train")
    known = sum(bytes.fromhex(sha256) in final_run.trained_on for sha256 in split["sha256"])
    if not known:
        log.warning(
            "None of these %d images trained the run that is repeated: its score says little of "
            "its settings here",
            len(split),
        )  # fmt: skip
    summary = describe_split(
        split,
        image_index,
        method="all",
        ratios=Ratios(train=1.0, validation=0.0, test=0.0),
        seed=final_run.settings.training.seed,
        image_set=image_set,
    )
    return split, summary


def request_all_pixels(
    training_images: Path, final_split: pd.DataFrame, final_run: FinalRun, pixels: str
) -> PixelRequest:
    """Ask for the pixels of all images at the run's sizes, from `cache` or `files`."""
    return PixelRequest.of(training_images, final_split, final_run.settings.preprocessing, pixels)


def train_final_detector(
    final_run: FinalRun,
    final_split: pd.DataFrame,
    final_split_summary: dict[str, Any],
    final_pixels: PixelCache,
    final_initial_weights: dict[str, Tensor],
    training_checkpoints: TrainingCheckpoints,
) -> tuple[pd.DataFrame, Detector]:
    """Train on all images; threshold and temperature are those of the run that is repeated.

    The initial weights are a state dict, empty for random weights. Errors are those of `train_run`.

    Returns:
        The training history, without validation; and the detector of the last epoch.
    """
    trained = train_run(
        final_run.settings,
        final_split,
        final_split_summary,
        final_pixels,
        final_initial_weights,
        training_checkpoints,
    )
    card, of_run = trained.detector.card, final_run.card
    repeated = of_run.run_fingerprint[:12]
    fitted = of_run.calibration.get("fitted", [])
    source_score = SourceScore.of(of_run.calibration)
    notes = [
        f"the {name} was fitted on the validation subset of run {repeated}, on another detector "
        "with the same settings"
        for name in [
            *fitted,
            *(["rule of source scores"] if source_score.areas else []),
            *(["interval of unsure verdicts"] if of_run.calibration.get("verdict") else []),
        ]
    ]
    log.info(
        "This detector has no score of its own: all images trained it. Its settings were scored in "
        "run %s",
        repeated,
    )  # fmt: skip
    card = replace(
        card,
        threshold=of_run.threshold,
        temperature=of_run.temperature,
        calibration={
            "fitted": fitted,
            "notes": [*of_run.calibration.get("notes", []), *notes],
            "source_score": source_score.as_json(),
            "verdict": of_run.calibration.get("verdict", {}),
        },
        settings=card.settings | {"calibration": of_run.settings.get("calibration", {})},
        vouched_by={
            "run_fingerprint": of_run.run_fingerprint,
            "split_fingerprint": of_run.split["fingerprint"],
            "split_method": of_run.split["method"],
            "images": len(final_run.trained_on),
            "best_epoch": of_run.best_epoch,
            "best_validation_accuracy": of_run.best_validation_accuracy,
        },
    )
    distance = trained.detector.training_distance
    if distance and final_run.training_distance:
        # no image is left for validation; the distances of both detectors have the same unit
        distance = replace(distance, validation=final_run.training_distance.validation)
    return trained.history, replace(trained.detector, card=card, training_distance=distance)
