"""What comes of a training: a detector, with all that is to be said of it."""

import math
import platform
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import pandas as pd
from torch import Tensor, nn

from deepfake_detection.images.fingerprints import fingerprint_of_run, pack_hashes
from deepfake_detection.models.backbones import put_weights
from deepfake_detection.models.detector import CLASS_NAMES, Detector, DetectorCard
from deepfake_detection.parameters import (
    CalibrationParameters,
    PreprocessingParameters,
    TrainingParameters,
)
from deepfake_detection.training.loop import Epoch
from deepfake_detection.training.task import TrainingTask

_LIBRARIES = ("deepfake-detection", "torch", "torchvision", "numpy", "pillow", "safetensors")


def build_detector(
    network: nn.Module,
    weights: dict[str, Tensor],
    task: TrainingTask,
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    settings: dict[str, Any],
    epoch: Epoch,
    **of_card: Any,
) -> Detector:
    """Make a detector of trained weights.

    Args:
        network: Takes the weights.
        weights: A state dict.
        task: The training.
        split: Its images and their subsets.
        split_summary: Of the same split.
        settings: All of the run.
        epoch: That the weights are of.
        of_card: What its card says beside, or otherwise.
    """
    accuracy = epoch.validation_accuracy
    card: dict[str, Any] = {
        "backbone": task.model,
        "transform_input": task.transform_input,
        "preprocessing": task.preprocessing.model_dump(mode="json"),
        "class_names": list(CLASS_NAMES),
        "classes": _list_classes(split),
        "threshold": 0.5,
        "temperature": 1.0,
        "best_epoch": epoch.epoch,
        "best_validation_accuracy": None if math.isnan(accuracy) else accuracy,
        "split": split_summary,
        "settings": settings,
        "run_fingerprint": fingerprint_of_run(settings, split_summary["fingerprint"]),
        "versions": _list_versions(),
        "computed_on": asdict(task.hardware),
    }
    trained_on, validated_on = (
        pack_hashes(split.loc[split["subset"] == subset, "sha256"])
        for subset in ("train", "validation")
    )
    put_weights(network, weights)
    return Detector(network.cpu().eval(), DetectorCard(**card | of_card), trained_on, validated_on)


def merge_settings(
    split_summary: dict[str, Any],
    model: str,
    preprocessing: PreprocessingParameters,
    training: TrainingParameters,
    calibration: CalibrationParameters,
) -> dict[str, Any]:
    """All settings of a run, as plain JSON: with its split, they say which run it is."""
    return {
        "model": model,
        "preprocessing": preprocessing.model_dump(mode="json"),
        "data_preparation": split_summary["data_preparation"],
        "split": {
            name: split_summary[name]
            for name in ("method", "ratios", "seed", "fold")
            if name in split_summary
        },
        # where and how often a state is kept changes no number
        "training": training.model_dump(mode="json", exclude={"checkpoint", "rendezvous"}),
        "calibration": calibration.model_dump(mode="json"),
    }


def transforms_input(training: TrainingParameters) -> bool:
    """Whether inception's network expects what ImageNet's weights were trained with."""
    return training.weights != "none"


def describe_start(weights: str) -> str:
    """What a training starts from, in words."""
    starts = {"none": "from random weights", "imagenet": "from ImageNet weights"}
    return starts.get(weights, f"from {weights}")


def _list_classes(split: pd.DataFrame) -> dict[str, str]:
    labels = split.drop_duplicates("class_name").set_index("class_name")["label"]
    return {str(name): CLASS_NAMES[label] for name, label in labels.items()}


def _list_versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}
