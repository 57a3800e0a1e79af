"""Recipes, pictures and a network, small enough to train in a moment."""

from typing import Any

import numpy as np
import torch
from torch import nn

from deepfake_detection.parameters import (
    CalibrationParameters,
    PreprocessingParameters,
    TrainingParameters,
)
from deepfake_detection.training.batches import LabelledPixels

CPU = torch.device("cpu")
SIZE = 12
PREPROCESSING = PreprocessingParameters(
    resize=SIZE, crop=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)


def make_training(**changes: Any) -> TrainingParameters:
    """A whole recipe on one CPU, with changes to the keys of its top level."""
    settings: dict[str, Any] = {
        "weights": "none",
        "epochs": 6,
        "batch_size": 8,
        "shuffle": True,
        "optimizer": {
            "name": "adam", "lr": 0.003, "head_lr_multiple": 3, "betas": [0.9, 0.999],
            "weight_decay": 0.0,
        },
        "schedule": {"name": "none", "step_size": 2, "gamma": 0.5},
        "loss": {"class_weights": "none", "auxiliary_weight": 0.4},
        "augmentation": {"flip": 0.5, "rotation": 10},
        "early_stopping": {"patience": None},
        "device": "cpu",
        "devices": 1,
        "precision": "fp32",
        "compile": False,
        "seed": 3,
        "checkpoint": {"minutes": 0, "resume": True},
    }  # fmt: skip
    return TrainingParameters.model_validate(settings | changes)


def make_calibration(
    threshold: str = "fixed", temperature: str = "none", **changes: Any
) -> CalibrationParameters:
    """Rules of threshold and temperature, with changes to those of the threshold."""
    return CalibrationParameters.model_validate(
        {
            "threshold": {"rule": threshold, "value": 0.5, "false_positive_rate": 0.1} | changes,
            "temperature": {"rule": temperature, "bounds": [0.1, 10.0]},
        }
    )


def make_network(*, normalised: bool = True) -> nn.Module:
    """Always the same weights; its head is the layer `5`."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8) if normalised else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def make_pictures(count: int, seed: int, noise: float = 60) -> LabelledPixels:
    """Fakes are a little redder, half hidden in noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    array = generator.normal(120, noise, (count, SIZE, SIZE, 3))
    array[..., 0] += 30 * labels[:, None, None]
    return LabelledPixels(
        array.clip(0, 255).astype(np.uint8), np.arange(count), torch.from_numpy(labels)
    )
