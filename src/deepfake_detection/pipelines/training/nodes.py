"""Nodes of `training`: from a split and pixels to a detector and its history."""

import logging
import platform
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from deepfake_detection.detector.backbones import build_backbone, fetch_weights
from deepfake_detection.detector.detector import CLASS_NAMES, Detector, DetectorCard
from deepfake_detection.detector.device import choose_device
from deepfake_detection.detector.file import DetectorSlot
from deepfake_detection.detector.fingerprints import (
    fingerprint_of_run,
    fingerprint_of_split,
    pack_hashes,
)
from deepfake_detection.detector.pixels import PixelRequest, Pixels, PixelStores
from deepfake_detection.errors import UserError
from deepfake_detection.learning.loop import (
    Epoch,
    LabelledPixels,
    NonFiniteLossError,
    fit_network,
)
from deepfake_detection.parameters import Backbones, PreprocessingParameters, TrainingParameters

log = logging.getLogger(__name__)

_LIBRARIES = ("deepfake-detection", "torch", "torchvision", "numpy", "pillow", "safetensors")


def fetch_initial_weights(model: str, training: TrainingParameters) -> dict[str, Tensor]:
    """Get the weights that training starts from, before anything that takes long.

    Raises:
        UserError: If they cannot be fetched or read.
    """
    return fetch_weights(model, training.weights)


def request_pixels(
    training_images: Path, image_index: pd.DataFrame, model: str, backbones: Backbones
) -> PixelRequest:
    """Ask for the pixels of all indexed images at a backbone's sizes."""
    return PixelRequest(
        training_images,
        image_index["path"].tolist(),
        image_index["sha256"].tolist(),
        backbones.preprocessing(model),
    )


def train_detector(
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    pixel_store: PixelStores,
    initial_weights: dict[str, Tensor],
    best_so_far: DetectorSlot,
    model: str,
    backbones: Backbones,
    training: TrainingParameters,
) -> tuple[Detector, pd.DataFrame]:
    """Train a backbone on the train subset; validation chooses the epoch.

    Args:
        split: Images and their subsets.
        split_summary: Of the same split; its fingerprint is checked.
        pixel_store: Holds the pixels of all images of the split.
        initial_weights: A state dict, empty for random weights.
        best_so_far: Where the best epoch is kept if the loss does not stay finite.
        model: The backbone.
        backbones: Preprocessing by backbone.
        training: The recipe.

    Returns:
        The detector of the epoch with the best validation accuracy, and the training history.

    Raises:
        UserError: If the loss is not finite, the device is missing, or the inputs don't fit.
    """
    _check_split(split, split_summary)
    device = choose_device(training.device)
    preprocessing = backbones.preprocessing(model)
    pixels = pixel_store.open(split["sha256"].tolist(), preprocessing)
    train, validation = (_take(pixels, split, subset) for subset in ("train", "validation"))

    torch.manual_seed(training.seed)
    network, heads = build_backbone(
        model, initial_weights, transform_input=_transforms_input(training)
    )
    log.info(
        "Training %s on %d images, validating on %d, %s (%s)",
        model, len(train), len(validation), _describe_start(training.weights), _describe(device),
    )  # fmt: skip

    make_detector = partial(
        _make_detector, network, split, split_summary, preprocessing, training, model
    )
    try:
        result = fit_network(network, heads, train, validation, preprocessing, training, device)
    except NonFiniteLossError as error:
        kept = "No epoch before it can be kept."
        if error.fit.best is not None:
            best_so_far.fill(make_detector(error.fit.best, error.fit.best_weights))
            kept = (
                f"The best epoch so far, {error.fit.best.epoch} (validation accuracy "
                f"{error.fit.best.validation_accuracy:.4f}), is kept: take it with kedro run "
                f"--pipelines evaluation --params model={model},detector={best_so_far.path}."
            )
        raise UserError(
            f"{error}: training has stopped. {kept} To get further, lower training.optimizer.lr "
            f"(it is {training.optimizer.lr:g}, times {training.optimizer.head_lr_multiple:g} for "
            "the head)."
        ) from error

    best = result.chosen
    log.info(
        "The detector has the weights of epoch %d: validation accuracy %.4f",
        best.epoch, best.validation_accuracy,
    )  # fmt: skip
    history = pd.DataFrame([asdict(epoch) for epoch in result.history])
    return make_detector(best, result.best_weights), history


def _make_detector(
    network: nn.Module,
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    preprocessing: PreprocessingParameters,
    training: TrainingParameters,
    model: str,
    best: Epoch,
    weights: dict[str, Tensor],
) -> Detector:
    settings = _merge_settings(split_summary, model, preprocessing, training)
    card = DetectorCard(
        backbone=model,
        transform_input=_transforms_input(training),
        preprocessing=preprocessing.model_dump(mode="json"),
        class_names=list(CLASS_NAMES),
        classes=_list_classes(split),
        threshold=0.5,
        temperature=1.0,
        best_epoch=best.epoch,
        best_validation_accuracy=best.validation_accuracy,
        split=split_summary,
        settings=settings,
        run_fingerprint=fingerprint_of_run(settings, split_summary["fingerprint"]),
        versions=_list_versions(),
    )
    trained_on, validated_on = (
        pack_hashes(split.loc[split["subset"] == subset, "sha256"])
        for subset in ("train", "validation")
    )
    network.load_state_dict(weights)
    return Detector(network.cpu().eval(), card, trained_on, validated_on)


def _transforms_input(training: TrainingParameters) -> bool:
    return training.weights != "none"


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


def _take(pixels: Pixels, split: pd.DataFrame, subset: str) -> LabelledPixels:
    images = split[split["subset"] == subset]
    labels = torch.from_numpy(images["label"].to_numpy(dtype="int64", copy=True))
    return LabelledPixels(pixels.array, pixels.rows(images["sha256"].tolist()), labels)


def _merge_settings(
    split_summary: dict[str, Any],
    model: str,
    preprocessing: PreprocessingParameters,
    training: TrainingParameters,
) -> dict[str, Any]:
    return {
        "model": model,
        "preprocessing": preprocessing.model_dump(mode="json"),
        "data_preparation": split_summary["data_preparation"],
        "split": {name: split_summary[name] for name in ("method", "ratios", "seed")},
        "training": training.model_dump(mode="json"),
    }


def _list_classes(split: pd.DataFrame) -> dict[str, str]:
    labels = split.drop_duplicates("class_name").set_index("class_name")["label"]
    return {str(name): CLASS_NAMES[label] for name, label in labels.items()}


def _list_versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}


def _describe(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)


def _describe_start(weights: str) -> str:
    starts = {"none": "from random weights", "imagenet": "from ImageNet weights"}
    return starts.get(weights, f"from {weights}")
