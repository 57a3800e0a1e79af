"""One run: from a split and its pixels to a training history and a detector."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.images.fingerprints import fingerprint_of_split
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.interruptions import explaining_interruptions
from deepfake_detection.models.backbones import build_backbone
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.detector_file import DetectorSlot
from deepfake_detection.models.run_identity import describe_weights, fingerprint_of, identify_run
from deepfake_detection.training.build_detector import RunSettings, build_detector
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import choose_hardware
from deepfake_detection.training.loop import TrainResult
from deepfake_detection.training.resume import (
    describe_resume,
    find_checkpoint,
    hardware_of_checkpoint,
    train,
)
from deepfake_detection.training.task import TrainingTask

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedRun:
    """What a training gives.

    Attributes:
        history: A row for each epoch, with `run_fingerprint`.
        validation_logits: A row for each validation image: path, label (1 fake, 0 real), logit
            (fake minus real, of the best epoch), run_fingerprint.
        detector: With the weights of the best epoch; not calibrated.
    """

    history: pd.DataFrame
    validation_logits: pd.DataFrame
    detector: Detector


def identify(settings: RunSettings, split_summary: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run on this machine, where `precision: auto` is resolved.

    Raises:
        UserError: If the machine lacks the device, or the weights file cannot be read.
    """
    weights = settings.training.weights
    try:
        described = describe_weights(weights)
    except OSError as error:
        raise UserError(
            f"parameter 'training.weights': {weights} cannot be read ({first_line(error)})"
        ) from None
    return identify_run(
        settings.as_json(split_summary),
        split_summary["fingerprint"],
        precision=choose_hardware(settings.training).precision,
        weights=described,
    )


def train_run(
    settings: RunSettings,
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    pixel_cache: PixelCache,
    initial_weights: Mapping[str, Tensor],
    checkpoints: TrainingCheckpoints,
    best_so_far: DetectorSlot | None = None,
    *,
    build: Callable[..., tuple[nn.Module, list[str]]] = build_backbone,
) -> TrainedRun:
    """Train one run, from the beginning or from its last checkpoint.

    Args:
        settings: Of the run.
        split: A row for each image: path, sha256, class_name, label, subset.
        split_summary: Of the same split; its fingerprint is checked.
        pixel_cache: Holds the pixels of all images of the split.
        initial_weights: A state dict; empty for random weights.
        checkpoints: Where unfinished runs keep their state.
        best_so_far: Where the best epoch is kept if the loss becomes infinite or NaN.
        build: Builds the network and names its head, with the arguments of `build_backbone`.

    Raises:
        UserError: If split and summary don't belong together, the loss is not finite, the device is
            missing, the checkpoint is damaged, or a process dies.
        InterruptedWorkError: On Ctrl-C.
    """
    if fingerprint_of_split(split) != split_summary["fingerprint"]:
        raise UserError(
            "split and split_summary are of different runs. Run kedro run --pipelines "
            "data_preparation again, or pick versions with --load-versions."
        )
    identity = identify(settings, split_summary)
    run = fingerprint_of(identity)
    training = settings.training
    start = find_checkpoint(checkpoints, run, training)
    task = TrainingTask(
        run=run,
        model=settings.model,
        transform_input=settings.transform_input,
        preprocessing=settings.preprocessing,
        training=training,
        hardware=choose_hardware(training) if start is None else hardware_of_checkpoint(start),
        hashes=TrainingTask.pack(split["sha256"].tolist()),
        labels=torch.from_numpy(split["label"].to_numpy(dtype="int64", copy=True)),
        subsets=split["subset"].tolist(),
        stop_after=settings.stop_after,
    )
    torch.manual_seed(training.seed)
    network, heads = build(settings.model, initial_weights, transform_input=task.transform_input)
    _log_start(task)
    with explaining_interruptions(
        lambda: f"training was interrupted. {describe_resume(checkpoints, run)}"
    ):
        result = train(task, network, heads, pixel_cache, start, checkpoints)

    if result.not_finite:
        # the checkpoint would only lead to the same loss again
        checkpoints.remove(run)
    if result.best is None:
        raise UserError(_explain_loss(result, task, "No epoch before it can be kept."))
    detector = build_detector(
        network, result, task, split, split_summary, settings.as_json(split_summary), identity
    )
    if result.not_finite:
        raise UserError(_explain_loss(result, task, _keep(detector, best_so_far)))
    history = pd.DataFrame([asdict(epoch) for epoch in result.history])
    return TrainedRun(
        history.assign(run_fingerprint=run), _tabulate_logits(result, split, run), detector
    )


def _tabulate_logits(result: TrainResult, split: pd.DataFrame, run: str) -> pd.DataFrame:
    validation = split.loc[split["subset"] == "validation", ["path", "label"]]
    logits: Any = [] if result.validation_logits is None else result.validation_logits
    return validation.assign(logit=logits, run_fingerprint=run).reset_index(drop=True)


def _log_start(task: TrainingTask) -> None:
    starts = {"none": "from random weights", "imagenet": "from ImageNet weights"}
    weights = task.training.weights
    log.info(
        "Training %s on %d images, validating on %d, %s (%s)",
        task.model, task.subsets.count("train"), task.subsets.count("validation"),
        starts.get(weights, f"from {weights}"), task.hardware,
    )  # fmt: skip


def _keep(detector: Detector, best_so_far: DetectorSlot | None) -> str:
    if best_so_far is None:
        return "It was finite in the run that is repeated: look at the images that are new."
    best_so_far.fill(detector)
    card = detector.card
    return (
        f"The best epoch so far, {card.best_epoch} (validation accuracy "
        f"{card.best_validation_accuracy:.4f}), is kept: take it with kedro run --pipelines "
        f"evaluation --params model={card.backbone},detector={best_so_far.path}."
    )


def _explain_loss(result: TrainResult, task: TrainingTask, kept: str) -> str:
    optimizer = task.training.optimizer
    return (
        f"the {result.not_finite} loss is not finite in epoch {len(result.history) + 1}: training "
        f"has stopped. {kept} To get further, lower training.optimizer.lr (it is "
        f"{optimizer.lr:g}, times {optimizer.head_lr_multiple:g} for the head)."
    )
