"""Nodes of `final_training`: from all labelled images to a detector for use."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.images.split_summary import describe_split
from deepfake_detection.models.backbones import fetch_weights
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import (
    FinalTrainingParameters,
    ImageSetParameters,
    Ratios,
    TrainingParameters,
)
from deepfake_detection.pipelines.final_training.run import FinalRun, repeat_run
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.train_run import train_run

log = logging.getLogger(__name__)


def plan_final_run(
    detector: Detector,
    model: str,
    training: TrainingParameters,
    final_training: FinalTrainingParameters,
) -> FinalRun:
    """Take the settings and the number of epochs from the run of a detector.

    Args:
        detector: Of a run that was scored.
        model: What result folders are named after.
        training: Says what to compute on; the rest comes from the run.
        final_training: How many epochs.

    Raises:
        UserError: If the detector is of another backbone than the result folders, or its run cannot
            be repeated.
    """
    card = detector.card
    if card.backbone != model:
        raise UserError(
            f"the detector is of {card.backbone}, while results would lie in folders of {model}: "
            f"add model={card.backbone} to --params"
        )
    run = repeat_run(detector, training, final_training.epochs)
    log.info(
        "Repeating run %s on all images for %d of its %d epochs; its validation accuracy, in epoch "
        "%d, was %.4f (split by %s)",
        card.run_fingerprint[:12], run.settings.stop_after, run.settings.training.epochs,
        card.best_epoch, card.best_validation_accuracy, card.split["method"],
    )  # fmt: skip
    return run


def fetch_weights_of_run(final_run: FinalRun) -> dict[str, Tensor]:
    """Get the weights that the run started from.

    Raises:
        UserError: If they cannot be fetched or read.
    """
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

    Args:
        final_run: What is repeated.
        final_split: All images.
        final_split_summary: Of the same.
        final_pixels: Hold their pixels.
        final_initial_weights: A state dict; empty for random weights.
        training_checkpoints: Where unfinished runs keep their state.

    Returns:
        The training history, without validation; and the detector of the last epoch.

    Raises:
        UserError: See `train_run`.
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
    notes = [
        f"the {name} was fitted on the validation subset of run {repeated}, on another detector "
        "with the same settings"
        for name in fitted
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
        },
        settings=card.settings | {"calibration": final_run.calibration},
        vouched_by=final_run.vouched_by,
    )
    return trained.history, replace(trained.detector, card=card)
