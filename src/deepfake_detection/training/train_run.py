"""One run: from a split and its pixels to a training history and a detector."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from deepfake_detection.parameters import TrainingParameters
from deepfake_detection.training.build_detector import (
    RunSettings,
    build_detector,
    fit_training_distance,
)
from deepfake_detection.training.checkpoints import State, TrainingCheckpoints
from deepfake_detection.training.hardware import Hardware, Processes, choose_hardware
from deepfake_detection.training.launch import train_in_processes
from deepfake_detection.training.results import TrainResult
from deepfake_detection.training.task import TrainingTask, train_task

log = logging.getLogger(__name__)

# Threads (of Kedro, Dask) train in turn: torch's random state and number of threads belong to the
# process. A caller that also draws the initial weights holds the lock during both steps.
training_lock = threading.RLock()


@dataclass(frozen=True)
class TrainedRun:
    """The result of one training. The detector is not calibrated yet.

    Attributes:
        history: A row for each `Epoch`, with `run_fingerprint`.
        validation_logits: A row for each validation image: path, label (1 fake, 0 real), logit
            (fake minus real, of the best epoch), run_fingerprint; class_name, source, group.
    """

    history: pd.DataFrame
    validation_logits: pd.DataFrame
    detector: Detector


def identify(settings: RunSettings, split_summary: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run on this machine, where `precision: auto` is resolved.

    A UserError says that the machine lacks the device, or that the weights file cannot be read.
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

    `split` has a row for each image: path, sha256, class_name, label, source, group, subset.
    `initial_weights` is a state dict, empty for random weights. `best_so_far` takes the best epoch
    if the loss becomes infinite or NaN. `build` builds the network and names its head, as
    `build_backbone`.

    Raises:
        UserError: If split and summary don't belong together, the loss is not finite, the device is
            missing, the checkpoint is damaged, a process dies, or another process trains this run.
        InterruptedWorkError: On Ctrl-C and SIGTERM.
    """
    if fingerprint_of_split(split) != split_summary["fingerprint"]:
        raise UserError(
            "split and split_summary are of different runs. Run kedro run --pipelines "
            "data_preparation again, or pick versions with --load-versions."
        )
    identity = identify(settings, split_summary)
    run, training = fingerprint_of(identity), settings.training
    images = split[["sha256", "class_name", "label", "source", "group", "subset"]]
    with (
        checkpoints.lock(run),
        explaining_interruptions(lambda: f"training was interrupted. {checkpoints.describe(run)}"),
        training_lock,
    ):
        start = find_checkpoint(checkpoints, run, training)
        hardware = (
            choose_hardware(training) if start is None else hardware_of_checkpoint(start, training)
        )
        task = TrainingTask(run, settings, hardware, images, pixel_cache, checkpoints)
        _log_start(task)
        torch.manual_seed(training.seed)
        network, heads = build(
            settings.model, initial_weights, transform_input=settings.transform_input,
            crop=settings.preprocessing.crop,
        )  # fmt: skip
        result = train(task, network, heads, start)

    if result.not_finite:
        # the checkpoint would only lead to the same loss again
        checkpoints.remove(run)
    if result.best is None:
        raise UserError(_explain_loss(result, training, "No epoch before it can be kept."))
    detector = build_detector(network, result, settings, hardware, split, split_summary, identity)
    if result.not_finite:
        raise UserError(_explain_loss(result, training, _keep(detector, best_so_far)))
    with explaining_interruptions(lambda: f"training was interrupted. {checkpoints.describe(run)}"):
        detector, distances = fit_training_distance(detector, heads, *task.open_pixels(), hardware)
    history = pd.DataFrame([asdict(epoch) for epoch in result.history])
    validation = split.loc[split["subset"] == "validation"]
    logits: Any = [] if result.validation_logits is None else result.validation_logits
    kept = ["path", "class_name", "label", "source", "group"]
    validation = validation[kept].assign(logit=logits, training_distance=distances)
    validation = validation.reset_index(drop=True)
    history, validation = (table.assign(run_fingerprint=run) for table in (history, validation))
    return TrainedRun(history, validation, detector)


def find_checkpoint(
    states: TrainingCheckpoints, run: str, training: TrainingParameters
) -> State | None:
    """The checkpoint of an interrupted run with the same settings and split, if it is wanted."""
    if others := states.others(run):
        log.info(
            "Ignored %d checkpoint%s of runs with other settings or another split in %s",
            len(others), "s" if len(others) > 1 else "", states.folder,
        )  # fmt: skip
    if not training.checkpoint.resume:
        return None
    state = states.load(run)
    if state is not None:
        log.info(
            "Resuming after epoch %d of the same run (%s). To start from the first epoch: "
            "--params training.checkpoint.resume=false",
            len(state["result"]["history"]), states.path(run),
        )  # fmt: skip
    return state


def hardware_of_checkpoint(state: State, training: TrainingParameters) -> Hardware:
    """The hardware that an interrupted training has to go on with; UserError if it is not here."""
    kept = Hardware(**state["hardware"])
    asked = {"device": kept.device, "devices": kept.processes, "precision": kept.precision}
    try:
        return replace(choose_hardware(training.model_copy(update=asked)), threads=kept.threads)
    except UserError as error:
        raise UserError(
            f"the checkpoint was made on {kept.device}, and training can only resume there. On "
            f"this machine, {error} To start again, add --params training.checkpoint.resume=false"
        ) from None


def train(
    task: TrainingTask, network: nn.Module, heads: Sequence[str], start: State | None
) -> TrainResult:
    """Train in this process, or in one for each device, from `start` or the first epoch."""
    with training_lock:
        if task.hardware.processes > 1:
            return train_in_processes(task, network, start)
        threads = torch.get_num_threads()
        try:
            device = torch.device(task.hardware.device)
            return train_task(task, network, heads, start, Processes(device))
        finally:
            torch.set_num_threads(threads)


def _log_start(task: TrainingTask) -> None:
    starts = {"none": "from random weights", "imagenet": "from ImageNet weights"}
    weights, subsets = task.settings.training.weights, task.split["subset"]
    log.info(
        "Training %s on %d images, validating on %d, %s (%s)",
        task.settings.model, (subsets == "train").sum(), (subsets == "validation").sum(),
        starts.get(weights, f"from {weights}"), task.hardware,
    )  # fmt: skip


def _keep(detector: Detector, best_so_far: DetectorSlot | None) -> str:
    if best_so_far is None:
        return (
            "The loss was finite in the run whose settings are used here: check the images that "
            "were added."
        )
    best_so_far.fill(detector)
    card = detector.card
    return (
        f"The best epoch so far, {card.best_epoch} (validation accuracy "
        f"{card.best_validation_accuracy:.4f}), is kept: take it with kedro run --pipelines "
        f"evaluation --params model={card.backbone},detector={best_so_far.path}."
    )


def _explain_loss(result: TrainResult, training: TrainingParameters, kept: str) -> str:
    optimizer = training.optimizer
    return (
        f"the {result.not_finite} loss is not finite in epoch {len(result.history) + 1}: training "
        f"has stopped. {kept} To get further, lower training.optimizer.lr (it is "
        f"{optimizer.lr:g}, times {optimizer.head_lr_multiple:g} for the head)."
    )
