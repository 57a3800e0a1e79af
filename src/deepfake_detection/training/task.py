"""One training: what a process needs to know of it, and how it is done."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
import torch
from torch import nn

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.models.backbones import build_backbone
from deepfake_detection.models.devices import keeping_memory
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import CheckpointSaver, State, TrainingCheckpoints
from deepfake_detection.training.hardware import Hardware, Processes
from deepfake_detection.training.loop import Trainer, train_network
from deepfake_detection.training.optimisation import check_compiler
from deepfake_detection.training.results import TrainResult


@dataclass(frozen=True)
class TrainingTask:
    """What a process needs to know to train.

    Attributes:
        run: The training's fingerprint, which names its checkpoint.
        split: A row for each image: sha256, class_name, label (1 fake, 0 real), source, group,
            subset.
        pixel_cache: Holds the pixels of all images of the split.
        checkpoints: Where the main process saves the checkpoint.
    """

    run: str
    settings: RunSettings
    hardware: Hardware
    split: pd.DataFrame
    pixel_cache: PixelCache
    checkpoints: TrainingCheckpoints

    def build_network(self) -> tuple[nn.Module, list[str]]:
        """The network with a two-class head and random weights, and the names of its head."""
        settings = self.settings
        crop = settings.preprocessing.crop
        return build_backbone(
            settings.model, {}, transform_input=settings.transform_input, crop=crop
        )

    def open_pixels(self) -> tuple[LabelledPixels, LabelledPixels]:
        """Those of the train and the validation subset; UserError if there is no cache of them."""
        pixels = self.pixel_cache.open(self.split["sha256"].tolist(), self.settings.preprocessing)
        train, validation = (
            LabelledPixels.of(pixels, self.split[self.split["subset"] == subset])
            for subset in ("train", "validation")
        )
        return train, validation


def train_task(
    task: TrainingTask,
    network: nn.Module,
    heads: Sequence[str],
    start: State | None,
    processes: Processes,
) -> TrainResult:
    """Train in this process, from the weights of `network` or from the checkpoint `start`.

    Raises:
        UserError: If the batch is too small to be divided, or torch.compile does not work.
    """
    settings, hardware, device = task.settings, task.hardware, processes.device
    training = settings.training
    train, validation = task.open_pixels()
    smallest, needed = min(training.batch_size, len(train)), 2 * processes.count
    if processes.count > 1 and smallest < needed:
        raise UserError(
            f"parameter 'training.batch_size': {processes.count} processes share each batch and "
            f"need two images each, {needed} in all (there are {smallest})"
        )
    if training.compile:
        check_compiler(device)
    if device.type == "cpu" and torch.get_num_threads() != hardware.threads:
        # sums of another number of threads differ in their last bits
        torch.set_num_threads(hardware.threads)
    trainer = Trainer(
        network, heads, train, validation, settings.preprocessing, training,
        precision=hardware.precision, processes=processes,
    )  # fmt: skip
    result = TrainResult()
    if start is not None:
        trainer.load_state_dict(start["trainer"])
        result = TrainResult.from_state_dict(start["result"])

    def checkpoint() -> State:
        return {
            "trainer": trainer.state_dict(),
            "result": result.state_dict(),
            "hardware": asdict(hardware),
        }

    def save(result: TrainResult) -> None:
        # the last epoch too: a kill before the detector is saved must lose nothing
        last = result.ends(training, settings.stop_after)
        if trainer.is_main:
            saver.save_if_due(checkpoint, last=last)

    with (
        keeping_memory(device),
        CheckpointSaver(task.checkpoints, task.run, training.checkpoint.minutes, device) as saver,
    ):
        train_network(trainer, training, result, stop_after=settings.stop_after, after_epoch=save)
        saver.finish()
    return result
