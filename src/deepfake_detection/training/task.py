"""One training: what a process needs to know of it, and how it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.models.backbones import build_network, replace_heads
from deepfake_detection.models.memory import keeping_memory
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.checkpoints import CheckpointSaver, State, TrainingCheckpoints
from deepfake_detection.training.hardware import Hardware
from deepfake_detection.training.loop import Trainer, TrainResult, train_network
from deepfake_detection.training.optimisation import check_compiler
from deepfake_detection.training.processes import Processes


@dataclass(frozen=True)
class TrainingTask:
    """What a process needs to know to train.

    Attributes:
        run: The training's fingerprint, which names its checkpoint.
        model: torchvision's name of the backbone.
        transform_input: See `build_network`.
        preprocessing: Sizes and normalisation.
        training: The settings.
        hardware: What to compute on.
        hashes: uint8, [images, 32]: SHA-256 of all images of the split, in its order.
        labels: int64, [images]: 1 fake, 0 real.
        subsets: The subset of each image.
        stop_after: The last epoch, if it is not that of the settings (see `TrainResult.ends`).
    """

    run: str
    model: str
    transform_input: bool
    preprocessing: PreprocessingParameters
    training: TrainingParameters
    hardware: Hardware
    hashes: Tensor
    labels: Tensor
    subsets: Sequence[str]
    stop_after: int | None = None

    @staticmethod
    def pack(sha256s: Sequence[str]) -> Tensor:
        """`hashes` of hexadecimal SHA-256s."""
        return torch.from_numpy(pack_hashes(sha256s).copy())

    def build_network(self) -> tuple[nn.Module, list[str]]:
        """The network with a two-class head and random weights, and the names of its head."""
        network = build_network(self.model, transform_input=self.transform_input)
        return network, replace_heads(network)

    def open_pixels(self, stores: PixelCache) -> tuple[LabelledPixels, LabelledPixels]:
        """Pictures and labels of the train and the validation subset.

        Raises:
            UserError: If there is no cache of the split's images.
        """
        sha256s = [row.tobytes().hex() for row in self.hashes.numpy()]
        pixels = stores.open(sha256s, self.preprocessing)
        rows, subsets = pixels.rows(sha256s), np.asarray(self.subsets)
        train, validation = (
            LabelledPixels(pixels.array, rows[chosen], self.labels[torch.from_numpy(chosen)])
            for chosen in (subsets == "train", subsets == "validation")
        )
        return train, validation

    def state_dict(self) -> State:
        """Plain values and tensors."""
        return {each.name: getattr(self, each.name) for each in fields(self)} | {
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "hardware": asdict(self.hardware),
            "subsets": list(self.subsets),
        }

    @classmethod
    def from_state_dict(cls, state: State) -> TrainingTask:
        """The inverse of `state_dict`."""
        typed = {
            "preprocessing": PreprocessingParameters.model_validate(state["preprocessing"]),
            "training": TrainingParameters.model_validate(state["training"]),
            "hardware": Hardware(**state["hardware"]),
        }
        return cls(**state | typed)


def train_task(
    task: TrainingTask,
    network: nn.Module,
    heads: Sequence[str],
    stores: PixelCache,
    start: State | None,
    states: TrainingCheckpoints,
    processes: Processes,
) -> TrainResult:
    """Train in this process, from the first epoch or from a checkpoint.

    Args:
        task: What to train.
        network: Its weights are those that training starts from.
        heads: Names of the layers of its head.
        stores: The pixels.
        start: The checkpoint to resume from.
        states: Where the main process saves checkpoints.
        processes: This process among those that train together.

    Raises:
        UserError: If the batch is too small to be divided, the disk is full, or torch.compile
            does not work.
    """
    training, device = task.training, processes.device
    smallest, needed = min(training.batch_size, task.subsets.count("train")), 2 * processes.count
    if processes.count > 1 and smallest < needed:
        raise UserError(
            f"parameter 'training.batch_size': {processes.count} processes share each batch and "
            f"need two images each, {needed} in all (there are {smallest})"
        )
    if training.compile:
        check_compiler(device)
    if device.type == "cpu" and torch.get_num_threads() != task.hardware.threads:
        # sums of another number of threads differ in their last bits
        torch.set_num_threads(task.hardware.threads)
    train, validation = task.open_pixels(stores)
    trainer = Trainer(
        network, heads, train, validation, task.preprocessing, training,
        precision=task.hardware.precision, processes=processes,
    )  # fmt: skip
    result = TrainResult()
    if start is not None:
        trainer.load_state_dict(start["trainer"])
        result = TrainResult.from_state_dict(start["result"])
    with (
        keeping_memory(device),
        CheckpointSaver(states, task.run, training.checkpoint.minutes, device) as saver,
    ):

        def save(result: TrainResult) -> None:
            # the last epoch too: a kill before the detector is saved must lose nothing
            last = result.ends(training, task.stop_after)
            if processes.is_main:
                saver.save_if_due(lambda: make_checkpoint(trainer, result, task), last=last)

        train_network(trainer, training, result, stop_after=task.stop_after, after_epoch=save)
        saver.finish()
    return result


def make_checkpoint(trainer: Trainer, result: TrainResult, task: TrainingTask) -> State:
    """What a training needs to resume, with the hardware that it computes on."""
    return {
        "trainer": trainer.state_dict(),
        "result": result.state_dict(),
        "hardware": asdict(task.hardware),
    }
