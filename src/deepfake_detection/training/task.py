"""One training, as something that can be handed to another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.models.backbones import build_network, replace_heads
from deepfake_detection.models.memory import keeping_memory
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.checkpoints import CheckpointSaver, State, TrainingCheckpoints
from deepfake_detection.training.hardware import Hardware, check_compiler
from deepfake_detection.training.loop import Trainer, TrainResult, train_network
from deepfake_detection.training.processes import Processes

_SUBSETS = ("train", "validation")


@dataclass(frozen=True)
class TrainingTask:
    """What a process has to know to train.

    Attributes:
        run: The training's fingerprint, by which its state is found.
        model: torchvision's name of the backbone.
        transform_input: See `build_network`.
        preprocessing: Sizes and normalisation.
        training: The recipe.
        hardware: What it computes on.
        hashes: uint8, [images, 32]: SHA-256 of all images of the split, in its order.
        labels: int64, [images]: 1 fake, 0 real.
        subsets: The subset of each image.
        stop_after: The last epoch, if it is not the recipe's (see `TrainResult.ends`).
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
        """Hexadecimal SHA-256s as `hashes` has them."""
        return torch.from_numpy(pack_hashes(sha256s).copy())

    def build_network(self) -> tuple[nn.Module, list[str]]:
        """The network with its two-class head, its weights yet to be loaded; names of its head."""
        network = build_network(self.model, transform_input=self.transform_input)
        return network, replace_heads(network)

    def open_pixels(self, stores: PixelCache) -> tuple[LabelledPixels, LabelledPixels]:
        """Pictures and labels of the train and the validation subset.

        Raises:
            UserError: If there is no store of the split's images.
        """
        sha256s = [row.tobytes().hex() for row in self.hashes.numpy()]
        pixels = stores.open(sha256s, self.preprocessing)
        rows, subsets = pixels.rows(sha256s), np.asarray(self.subsets)
        train, validation = (
            LabelledPixels(
                pixels.array, rows[subsets == name], self.labels[torch.from_numpy(subsets == name)]
            )
            for name in _SUBSETS
        )
        return train, validation

    def state_dict(self) -> State:
        """All of it, as plain values and tensors."""
        return {
            **{name: getattr(self, name) for name in ("run", "model", "transform_input")},
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json"),
            "hardware": asdict(self.hardware),
            "hashes": self.hashes,
            "labels": self.labels,
            "subsets": list(self.subsets),
            "stop_after": self.stop_after,
        }

    @classmethod
    def from_state_dict(cls, state: State) -> TrainingTask:
        """The inverse of `state_dict`."""
        return cls(
            **state
            | {
                "preprocessing": PreprocessingParameters.model_validate(state["preprocessing"]),
                "training": TrainingParameters.model_validate(state["training"]),
                "hardware": Hardware(**state["hardware"]),
            }
        )


def train_task(
    task: TrainingTask,
    network: nn.Module,
    heads: Sequence[str],
    stores: PixelCache,
    start: State | None,
    states: TrainingCheckpoints | None,
    processes: Processes,
) -> TrainResult:
    """Train in this process, from the beginning or from where an interruption left it.

    Args:
        task: What to train.
        network: With the weights that training begins with.
        heads: Names of the layers of its head.
        stores: Hold the pixels.
        start: The state to go on from.
        states: Where to save further ones; None in a process that keeps nothing.
        processes: This process among those that train together.

    Raises:
        UserError: If the disk is full, or torch.compile does not work here.
    """
    if task.training.compile:
        check_compiler(processes.device)
    train, validation = task.open_pixels(stores)
    trainer = Trainer(
        network, heads, train, validation, task.preprocessing, task.training,
        precision=task.hardware.precision, processes=processes,
    )  # fmt: skip
    fit = TrainResult()
    if start is not None:
        trainer.load_state_dict(start["trainer"])
        fit = TrainResult.from_state_dict(start["fit"])
    with keeping_memory(processes.device):
        if states is None:
            return train_network(
                trainer, task.training, fit, stop_after=task.stop_after, keeps=False
            )

        minutes = task.training.checkpoint.minutes
        with CheckpointSaver(states, task.run, minutes, processes.device) as saver:

            def save(fit: TrainResult) -> None:
                # the last one too: the detector is saved later, and a kill in between loses nothing
                last = fit.ends(task.training, task.stop_after)
                saver.save_if_due(lambda: make_checkpoint(trainer, fit, task.hardware), last=last)

            train_network(trainer, task.training, fit, stop_after=task.stop_after, after_epoch=save)
            saver.finish()
    return fit


def make_checkpoint(trainer: Trainer, fit: TrainResult, hardware: Hardware) -> State:
    """What a training needs to go on, also what `auto` chose and the number of threads."""
    return {
        "trainer": trainer.state_dict(),
        "fit": fit.state_dict(),
        "hardware": asdict(hardware),
    }
