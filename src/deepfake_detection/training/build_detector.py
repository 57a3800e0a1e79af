"""Build a `Detector` and its metadata from trained weights."""

import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd
from torch import nn

from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.backbones import put_weights
from deepfake_detection.models.detector import CLASS_NAMES, Detector, DetectorCard
from deepfake_detection.models.run_identity import fingerprint_of
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters
from deepfake_detection.training.loop import TrainResult
from deepfake_detection.training.task import TrainingTask

_LIBRARIES = ("deepfake-detection", "torch", "torchvision", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class RunSettings:
    """The settings of one training.

    Attributes:
        model: torchvision's name of the backbone.
        preprocessing: Sizes and normalisation.
        training: The block `training`.
        stop_after: The last epoch, where it is not the last of the schedule.
    """

    model: str
    preprocessing: PreprocessingParameters
    training: TrainingParameters
    stop_after: int | None = None

    @property
    def transform_input(self) -> bool:
        """Whether inception_v3 and googlenet expect the inputs of their ImageNet weights."""
        return self.training.weights != "none"

    def as_json(self, split_summary: Mapping[str, Any]) -> dict[str, Any]:
        """All settings, as the detector file holds them, those of the split included."""
        settings = {
            "model": self.model,
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "data_preparation": split_summary["data_preparation"],
            "split": {
                name: split_summary[name]
                for name in ("method", "ratios", "seed", "fold")
                if name in split_summary
            },
            "training": self.training.model_dump(mode="json", exclude={"checkpoint"}),
        }
        if self.stop_after is not None:
            settings["final_training"] = {"epochs": self.stop_after}
        return settings


def build_detector(
    network: nn.Module,
    result: TrainResult,
    task: TrainingTask,
    split: pd.DataFrame,
    split_summary: Mapping[str, Any],
    settings: Mapping[str, Any],
    identity: Mapping[str, Any],
) -> Detector:
    """Build a detector from the weights of the best epoch, with threshold 0.5 and temperature 1.

    Args:
        network: Takes the weights.
        result: Of the training.
        task: What was trained.
        split: A row for each image: sha256, class_name, label, subset.
        split_summary: Of the same split.
        settings: As `RunSettings.as_json` gives them.
        identity: See `run_identity`.
    """
    epoch = result.chosen
    accuracy = epoch.validation_accuracy
    card = DetectorCard(
        backbone=task.model,
        transform_input=task.transform_input,
        preprocessing=task.preprocessing.model_dump(mode="json"),
        class_names=list(CLASS_NAMES),
        classes=_list_classes(split),
        threshold=0.5,
        temperature=1.0,
        best_epoch=epoch.epoch,
        best_validation_accuracy=None if math.isnan(accuracy) else accuracy,
        split=dict(split_summary),
        settings=dict(settings),
        run_fingerprint=fingerprint_of(identity),
        identity=dict(identity),
        versions={"python": platform.python_version()}
        | {name: version(name) for name in _LIBRARIES},
        computed_on=asdict(task.hardware),
    )
    trained_on, validated_on = (
        pack_hashes(split.loc[split["subset"] == subset, "sha256"])
        for subset in ("train", "validation")
    )
    put_weights(network, result.best_weights)
    return Detector(network.cpu().eval(), card, trained_on, validated_on)


def _list_classes(split: pd.DataFrame) -> dict[str, str]:
    labels = split.drop_duplicates("class_name").set_index("class_name")["label"]
    return {str(name): CLASS_NAMES[label] for name, label in labels.items()}
