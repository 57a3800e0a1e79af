"""Build a `Detector` and its metadata from trained weights."""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.backbones import put_weights
from deepfake_detection.models.detector import CLASS_NAMES, Detector, DetectorCard
from deepfake_detection.models.network_blocks import choose_described_layers
from deepfake_detection.models.run_identity import fingerprint_of
from deepfake_detection.models.training_distance import (
    Float64s,
    TrainingDistance,
    sample_rows,
)
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters
from deepfake_detection.parameters.backbones import TIMM
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.hardware import Hardware
from deepfake_detection.training.results import TrainResult

# Training images whose features are taken: more change the distances little
_MOST_DESCRIBED = 2000
_LIBRARIES = ("deepfake-detection", "torch", "torchvision", "numpy", "pillow", "safetensors")


@dataclass(frozen=True)
class RunSettings:
    """The settings of one training.

    `model` is the backbone's name. `stop_after` is the last epoch, if it is not that of `training`.
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


def list_versions(model: str) -> dict[str, str]:
    """Versions of Python and of the packages that determine scores of a backbone, by name."""
    libraries = [*_LIBRARIES, "timm"] if model.startswith(TIMM) else _LIBRARIES
    return {"python": platform.python_version()} | {name: version(name) for name in libraries}


def build_detector(
    network: nn.Module,
    result: TrainResult,
    settings: RunSettings,
    hardware: Hardware,
    split: pd.DataFrame,
    split_summary: Mapping[str, Any],
    identity: Mapping[str, Any],
) -> Detector:
    """Build a detector from the weights of the best epoch, with threshold 0.5 and temperature 1.

    `split` has a row for each image: sha256, class_name, label, subset. `network` takes the
    weights. `identity`: as `identify_run`.
    """
    epoch = result.chosen
    accuracy = epoch.validation_accuracy
    used = split[split["subset"] == "train"]
    labels = used.drop_duplicates("class_name").set_index("class_name")["label"]
    card = DetectorCard(
        backbone=settings.model,
        transform_input=settings.transform_input,
        preprocessing=settings.preprocessing.model_dump(mode="json"),
        class_names=list(CLASS_NAMES),
        classes={str(name): CLASS_NAMES[label] for name, label in labels.items()},
        threshold=0.5,
        temperature=1.0,
        best_epoch=epoch.epoch,
        best_validation_accuracy=None if math.isnan(accuracy) else accuracy,
        split=dict(split_summary),
        settings=settings.as_json(split_summary),
        run_fingerprint=fingerprint_of(identity),
        identity=dict(identity),
        versions=list_versions(settings.model),
        computed_on=asdict(hardware),
    )
    trained_on, validated_on = (
        pack_hashes(split.loc[split["subset"] == subset, "sha256"])
        for subset in ("train", "validation")
    )
    put_weights(network, result.best_weights)
    return Detector(network.cpu().eval(), card, trained_on, validated_on)


def fit_training_distance(
    detector: Detector,
    heads: Sequence[str],
    train: LabelledPixels,
    validation: LabelledPixels,
    hardware: Hardware,
) -> tuple[Detector, Float64s]:
    """The detector with a measure of the distance from its training images, if they are enough.

    Also the distance of each validation image; NaN without a measure. `heads`: names of the heads.
    """
    described = choose_described_layers(detector.network, heads)
    detector = replace(detector, card=replace(detector.card, described_layers=described))
    threads = torch.get_num_threads()
    try:
        # sums of another number of threads differ in their last bits
        with threadpool_limits(hardware.threads):
            torch.set_num_threads(hardware.threads)
            return _fit_training_distance(detector, train, validation, hardware.device)
    finally:
        torch.set_num_threads(threads)


def _fit_training_distance(
    detector: Detector, train: LabelledPixels, validation: LabelledPixels, device: str
) -> tuple[Detector, Float64s]:
    unknown = np.full(len(validation), np.nan)
    sampled = train.rows[sample_rows(len(train), _MOST_DESCRIBED)].tolist()
    features = detector.features(train.array, sampled, device=device)
    measure = None
    # weights can be finite, and features too large for a number
    if np.isfinite(features).all():
        measure = TrainingDistance.fit(features)
    if measure is None:
        return detector, unknown
    detector = replace(detector, training_distance=measure)
    rows = validation.rows.tolist()
    _, distances = detector.describe_pixels(validation.array, rows, device=device)
    measure = replace(measure, validation=np.sort(distances).astype(np.float32))
    detector.network.cpu()
    return replace(detector, training_distance=measure), distances
