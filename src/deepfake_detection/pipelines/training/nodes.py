"""Nodes of `training`: from a split and pixels to a detector and its history."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import (
    fingerprint_of_split,
    fingerprint_of_training,
)
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.interruptions import explaining_interruptions
from deepfake_detection.metrics.calibration import calibrate, needs_scores
from deepfake_detection.models.backbones import build_backbone, fetch_weights
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorSlot
from deepfake_detection.parameters import (
    Backbones,
    CalibrationParameters,
    TrainingParameters,
)
from deepfake_detection.training.build_detector import (
    build_detector,
    describe_start,
    merge_settings,
    transforms_input,
)
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import choose_hardware
from deepfake_detection.training.loop import Epoch, TrainResult
from deepfake_detection.training.resume import (
    describe_resume,
    find_checkpoint,
    hardware_of_checkpoint,
    train,
)
from deepfake_detection.training.task import TrainingTask

log = logging.getLogger(__name__)


def fetch_initial_weights(model: str, training: TrainingParameters) -> dict[str, Tensor]:
    """Get the weights that training starts from, before anything that takes long.

    Raises:
        UserError: If they cannot be fetched or read.
    """
    return fetch_weights(model, training.weights)


def request_pixels(
    training_images: Path,
    image_index: pd.DataFrame,
    model: str,
    backbones: Backbones,
    pixels: str,
) -> PixelRequest:
    """Ask for the pixels of all indexed images at a backbone's sizes, in a `store` or `files`."""
    return PixelRequest(
        training_images,
        image_index["path"].tolist(),
        image_index["sha256"].tolist(),
        backbones.preprocessing(model),
        stored=pixels == "store",
    )


def train_detector(
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    pixel_cache: PixelCache,
    initial_weights: dict[str, Tensor],
    training_checkpoints: TrainingCheckpoints,
    best_so_far: DetectorSlot,
    model: str,
    backbones: Backbones,
    training: TrainingParameters,
    calibration: CalibrationParameters,
) -> tuple[pd.DataFrame, Detector]:
    """Train a backbone on the train subset; validation chooses the epoch, then the calibration.

    A run with the same settings and split that was interrupted goes on where it was, whatever its
    calibration. Both are one node, so that the training's state is kept until the detector that
    comes of both is saved.

    Args:
        split: Images and their subsets.
        split_summary: Of the same split; its fingerprint is checked.
        pixel_cache: Holds the pixels of all images of the split.
        initial_weights: A state dict, empty for random weights.
        training_checkpoints: Where unfinished runs keep their states.
        best_so_far: Where the best epoch is kept if the loss does not stay finite.
        model: The backbone.
        backbones: Preprocessing by backbone.
        training: The recipe.
        calibration: How threshold and temperature are set.

    Returns:
        The training history, and the detector of the epoch with the best validation accuracy.

    Raises:
        UserError: If the loss is not finite, the device is missing, the inputs don't fit, the state
            is damaged, or a process dies.
        InterruptedWorkError: On Ctrl-C.
    """
    _check_split(split, split_summary)
    preprocessing = backbones.preprocessing(model)
    settings = merge_settings(split_summary, model, preprocessing, training, calibration)
    run = fingerprint_of_training(settings, split_summary["fingerprint"])
    start = find_checkpoint(training_checkpoints, run, training)
    task = TrainingTask(
        run=run,
        model=model,
        transform_input=transforms_input(training),
        preprocessing=preprocessing,
        training=training,
        hardware=choose_hardware(training) if start is None else hardware_of_checkpoint(start),
        hashes=TrainingTask.pack(split["sha256"].tolist()),
        labels=torch.from_numpy(split["label"].to_numpy(dtype="int64", copy=True)),
        subsets=split["subset"].tolist(),
    )
    torch.manual_seed(training.seed)
    network, heads = build_backbone(model, initial_weights, transform_input=task.transform_input)
    log.info(
        "Training %s on %d images, validating on %d, %s (%s)",
        model, task.subsets.count("train"), task.subsets.count("validation"),
        describe_start(training.weights), task.hardware,
    )  # fmt: skip

    def explain() -> str:
        return f"training was interrupted. {describe_resume(training_checkpoints, run)}"

    with explaining_interruptions(explain):
        fit = train(task, network, heads, pixel_cache, start, training_checkpoints)

    def make(epoch: Epoch, weights: dict[str, Tensor]) -> Detector:
        detector = build_detector(network, weights, task, split, split_summary, settings, epoch)
        return _calibrate(detector, task, pixel_cache, calibration)

    if fit.not_finite:
        # its state would only lead to the same loss again
        training_checkpoints.remove(run)
        raise UserError(_explain_loss(fit, make, best_so_far, task))
    best = fit.chosen
    log.info(
        "The detector has the weights of epoch %d: validation accuracy %.4f",
        best.epoch, best.validation_accuracy,
    )  # fmt: skip
    history = pd.DataFrame([asdict(epoch) for epoch in fit.history])
    with explaining_interruptions(explain):
        return history, make(best, fit.best_weights)


def _explain_loss(
    fit: TrainResult,
    make: Callable[[Epoch, dict[str, Tensor]], Detector],
    best_so_far: DetectorSlot,
    task: TrainingTask,
) -> str:
    kept = "No epoch before it can be kept."
    if fit.best is not None:
        best_so_far.fill(make(fit.best, fit.best_weights))
        kept = (
            f"The best epoch so far, {fit.best.epoch} (validation accuracy "
            f"{fit.best.validation_accuracy:.4f}), is kept: take it with kedro run "
            f"--pipelines evaluation --params model={task.model},detector={best_so_far.path}."
        )
    optimizer = task.training.optimizer
    return (
        f"the {fit.not_finite} loss is not finite in epoch {len(fit.history) + 1}: training has "
        f"stopped. {kept} To get further, lower training.optimizer.lr (it is {optimizer.lr:g}, "
        f"times {optimizer.head_lr_multiple:g} for the head)."
    )


def _calibrate(
    detector: Detector,
    task: TrainingTask,
    pixel_cache: PixelCache,
    calibration: CalibrationParameters,
) -> Detector:
    if not needs_scores(calibration):
        return calibrate(detector, np.empty(0), np.empty(0, dtype=np.int64), calibration)
    _, validation = task.open_pixels(pixel_cache)
    # in full precision, as every score is computed with the detector
    logits = detector.logits(
        validation.array,
        validation.rows,
        batch_size=task.training.batch_size,
        device=task.hardware.device,
    )
    detector.network.cpu()
    return calibrate(detector, logits, validation.labels.numpy(), calibration)


def _check_split(split: pd.DataFrame, split_summary: dict[str, Any]) -> None:
    if fingerprint_of_split(split) != split_summary["fingerprint"]:
        raise UserError(
            "split and split_summary are of different runs. Run kedro run --pipelines "
            "data_preparation again, or pick versions with --load-versions."
        )
    subsets = set(split["subset"])
    if "validation" not in subsets:
        raise UserError(
            "the split has no validation subset, which has to choose the epoch: set "
            "split.ratios.validation above 0 and run data_preparation again"
        )
