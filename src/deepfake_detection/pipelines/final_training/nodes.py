"""Nodes of `final_training`: from all labelled images to a detector for use."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import fingerprint_of_training
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.images.split_summary import describe_split
from deepfake_detection.interruptions import explaining_interruptions
from deepfake_detection.models.backbones import build_backbone, fetch_weights
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import (
    FinalTrainingParameters,
    ImageSetParameters,
    Ratios,
    TrainingParameters,
)
from deepfake_detection.pipelines.final_training.run import FinalRun, repeat_run
from deepfake_detection.training.build_detector import (
    build_detector,
    describe_start,
    merge_settings,
    transforms_input,
)
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import choose_hardware
from deepfake_detection.training.resume import (
    describe_resume,
    find_checkpoint,
    hardware_of_checkpoint,
    train,
)
from deepfake_detection.training.task import TrainingTask

log = logging.getLogger(__name__)

_ALL = "all"


def plan_final_run(
    detector: Detector,
    model: str,
    training: TrainingParameters,
    final_training: FinalTrainingParameters,
) -> FinalRun:
    """Take the settings and the number of epochs of the run that a detector came of.

    Args:
        detector: That of the run: the latest, or a study's choice.
        model: What result folders are named after.
        training: Says what to compute on; the rest is the run's.
        final_training: How many epochs.

    Raises:
        UserError: If the detector is of another backbone than the result folders, or no run's.
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
        card.run_fingerprint[:12], run.epochs, run.training.epochs, card.best_epoch,
        card.best_validation_accuracy, card.split["method"],
    )  # fmt: skip
    return run


def fetch_weights_of_run(final_run: FinalRun) -> dict[str, Tensor]:
    """Get the weights that the run started from.

    Raises:
        UserError: If they cannot be fetched or read.
    """
    return fetch_weights(final_run.model, final_run.training.weights)


def take_all_images(
    image_index: pd.DataFrame, final_run: FinalRun, image_set: ImageSetParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put all labelled images into the train subset.

    Returns:
        The split, a row for each image: path, sha256, class_name, label, source, group, subset;
        and what is said of it, as `describe_split`.
    """
    columns = ["path", "sha256", "class_name", "label", "source", "group"]
    split = image_index[columns].assign(subset="train")
    known = sum(bytes.fromhex(sha256) in final_run.learned for sha256 in split["sha256"])
    if not known:
        log.warning(
            "None of these %d images trained the run that is repeated: its score says little of "
            "its settings here",
            len(split),
        )  # fmt: skip
    summary = describe_split(
        split,
        image_index,
        method=_ALL,
        ratios=Ratios(train=1.0, validation=0.0, test=0.0),
        seed=final_run.training.seed,
        image_set=image_set,
    )
    return split, summary


def request_all_pixels(
    training_images: Path, final_split: pd.DataFrame, final_run: FinalRun, pixels: str
) -> PixelRequest:
    """Ask for the pixels of all images at the run's sizes, in a `store` or `files`."""
    return PixelRequest(
        training_images,
        final_split["path"].tolist(),
        final_split["sha256"].tolist(),
        final_run.preprocessing,
        stored=pixels == "store",
    )


def train_final_detector(
    final_run: FinalRun,
    final_split: pd.DataFrame,
    final_split_summary: dict[str, Any],
    final_pixels: PixelCache,
    final_initial_weights: dict[str, Tensor],
    training_checkpoints: TrainingCheckpoints,
) -> tuple[pd.DataFrame, Detector]:
    """Train on all images; threshold and temperature are those that the run's validation chose.

    An interrupted training with the same settings and images goes on where it was.

    Args:
        final_run: What is repeated.
        final_split: All images.
        final_split_summary: Of the same.
        final_pixels: Hold their pixels.
        final_initial_weights: A state dict, empty for random weights.
        training_checkpoints: Where unfinished runs keep their states.

    Returns:
        The training history, without validation; and the detector of the last epoch.

    Raises:
        UserError: If the loss is not finite, the device is missing, the state is damaged, or a
            process dies.
        InterruptedWorkError: On Ctrl-C.
    """
    training, card = final_run.training, final_run.card
    settings = merge_settings(
        final_split_summary, final_run.model, final_run.preprocessing, training,
        final_run.calibration,
    ) | {"final_training": {"epochs": final_run.epochs}}  # fmt: skip
    run = fingerprint_of_training(settings, final_split_summary["fingerprint"])
    start = find_checkpoint(training_checkpoints, run, training)
    task = TrainingTask(
        run=run,
        model=final_run.model,
        transform_input=transforms_input(training),
        preprocessing=final_run.preprocessing,
        training=training,
        hardware=choose_hardware(training) if start is None else hardware_of_checkpoint(start),
        hashes=TrainingTask.pack(final_split["sha256"].tolist()),
        labels=torch.from_numpy(final_split["label"].to_numpy(dtype="int64", copy=True)),
        subsets=final_split["subset"].tolist(),
        stop_after=final_run.epochs,
    )
    torch.manual_seed(training.seed)
    network, heads = build_backbone(
        final_run.model, final_initial_weights, transform_input=task.transform_input
    )
    log.info(
        "Training %s on all %d images, %s (%s)",
        final_run.model, len(final_split), describe_start(training.weights), task.hardware,
    )  # fmt: skip

    def explain() -> str:
        return f"training was interrupted. {describe_resume(training_checkpoints, run)}"

    with explaining_interruptions(explain):
        fit = train(task, network, heads, final_pixels, start, training_checkpoints)
    if fit.not_finite:
        training_checkpoints.remove(run)
        raise UserError(
            f"the {fit.not_finite} loss is not finite in epoch {len(fit.history) + 1}, though it "
            "was in the run that is repeated: training has stopped. Look at images that are new"
        )
    fitted = card.calibration.get("fitted", [])
    detector = build_detector(
        network, fit.best_weights, task, final_split, final_split_summary, settings, fit.chosen,
        threshold=card.threshold,
        temperature=card.temperature,
        calibration={
            "fitted": fitted,
            "notes": [
                *card.calibration.get("notes", []),
                *(
                    f"the {name} was fitted on the validation subset of run "
                    f"{card.run_fingerprint[:12]}, on another detector with the same settings"
                    for name in fitted
                ),
            ],
        },
        vouched_by=final_run.vouched_by,
    )  # fmt: skip
    log.info(
        "This detector has no score of its own: all images trained it. Run %s vouches for its "
        "settings",
        card.run_fingerprint[:12],
    )  # fmt: skip
    return pd.DataFrame([asdict(epoch) for epoch in fit.history]), detector
