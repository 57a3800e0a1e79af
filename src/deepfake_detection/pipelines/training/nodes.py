"""Nodes of `training`: from a split and pixels to a detector and its history."""

from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorSlot
from deepfake_detection.models.initial_weights import fetch_weights
from deepfake_detection.parameters import Backbones, TrainingParameters
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.train_run import train_run


def fetch_initial_weights(model: str, training: TrainingParameters) -> dict[str, Tensor]:
    """Get the weights that training starts from, before anything that takes long."""
    return fetch_weights(model, training.weights)


def request_pixels(
    training_images: Path, image_index: pd.DataFrame, model: str, backbones: Backbones, pixels: str
) -> PixelRequest:
    """Ask for the pixels of all indexed images at a backbone's sizes, from `cache` or `files`."""
    return PixelRequest.of(training_images, image_index, backbones.preprocessing(model), pixels)


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
) -> tuple[pd.DataFrame, pd.DataFrame, Detector]:
    """Train a backbone on the train subset; the validation subset chooses the epoch.

    An interrupted run with the same settings and split goes on from its last checkpoint.
    If the loss becomes infinite or NaN, `best_so_far` keeps the best epoch. Empty `initial_weights`
    stand for random ones.

    Returns:
        Training history, validation logits and the detector (see `TrainedRun`).

    Raises:
        UserError: See `train_run`; or if the split has no validation subset.
    """
    if "validation" not in set(split["subset"]):
        raise UserError(
            "the split has no validation subset, which has to choose the epoch: set "
            "split.ratios.validation above 0 and run data_preparation again"
        )
    run = train_run(
        RunSettings(model, backbones.preprocessing(model), training),
        split,
        split_summary,
        pixel_cache,
        initial_weights,
        training_checkpoints,
        best_so_far,
    )
    return run.history, run.validation_logits, run.detector
