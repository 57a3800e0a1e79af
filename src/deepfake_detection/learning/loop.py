"""The training loop."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deepfake_detection.detector.backbones import split_parameters
from deepfake_detection.detector.detector import Normalise, to_batch
from deepfake_detection.learning.augmentation import augment, draw
from deepfake_detection.learning.optimisation import (
    HEAD,
    REST,
    Loss,
    make_optimizer,
    make_schedule,
)
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledPixels:
    """Pictures to learn from.

    Attributes:
        array: uint8, [images, crop, crop, 3], possibly memory-mapped.
        rows: int, [n]: which of them.
        labels: int64, [n]: 1 fake, 0 real.
    """

    array: np.ndarray[Any, np.dtype[np.uint8]]
    rows: np.ndarray[Any, np.dtype[np.intp]]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Pictures, uint8 [b, 3, h, w], and labels, int64 [b], on the device."""
        # ascending rows are read faster from a memory-mapped file; the order inside a batch is moot
        chosen = chosen.sort().values
        pixels = self.array[self.rows[chosen.numpy()]]
        return to_batch(pixels, device), self.labels[chosen].to(device)


@dataclass(frozen=True)
class Epoch:
    """A row of the training history."""

    epoch: int
    learning_rate: float
    head_learning_rate: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float
    images_per_second: float


@dataclass
class Fit:
    """What training has come to.

    Attributes:
        history: An entry for each epoch so far.
        best: The first of the epochs with the highest validation accuracy; None before the first.
        best_weights: A copy of the network's state in that epoch, on the CPU.
    """

    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def add(self, epoch: Epoch, network: nn.Module) -> None:
        """Take in an epoch, and the weights if it is the best so far."""
        self.history.append(epoch)
        if self.best is None or epoch.validation_accuracy > self.best.validation_accuracy:
            self.best = epoch
            # a copy: state_dict() refers to the live weights, which the next epoch changes
            self.best_weights = {
                name: value.detach().to("cpu", copy=True)
                for name, value in network.state_dict().items()
            }

    @property
    def chosen(self) -> Epoch:
        """The best epoch.

        Raises:
            ValueError: Before the first epoch.
        """
        if self.best is None:
            raise ValueError("there was no epoch yet")
        return self.best

    @property
    def epochs_since_best(self) -> int:
        """Epochs after the best one."""
        return self.history[-1].epoch - self.best.epoch if self.best else 0


class NonFiniteLossError(Exception):
    """The loss became infinite or not a number; `fit` holds what came before."""

    def __init__(self, epoch: int, subset: str, fit: Fit) -> None:
        super().__init__(f"the {subset} loss is not finite in epoch {epoch}")
        self.epoch, self.subset, self.fit = epoch, subset, fit


def fit_network(
    network: nn.Module,
    heads: Sequence[str],
    train: LabelledPixels,
    validation: LabelledPixels,
    preprocessing: PreprocessingParameters,
    training: TrainingParameters,
    device: torch.device,
) -> Fit:
    """Train a network, and keep the weights of the epoch with the best validation accuracy.

    Args:
        network: From [n, 3, crop, crop] to [n, 2]; changed in place.
        heads: Names of the layers that learn at the head's rate.
        train: Pictures that it learns from.
        validation: Pictures that choose the epoch.
        preprocessing: Normalisation of the pictures.
        training: The recipe.
        device: Where to compute.

    Raises:
        NonFiniteLossError: At the end of the epoch in which the loss is no finite number.
    """
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalise = Normalise(preprocessing).to(device)
    optimizer = make_optimizer(*split_parameters(network, list(heads)), training.optimizer)
    schedule = make_schedule(optimizer, training.schedule, training.epochs)
    loss_of = Loss(training.loss, train.labels, device)
    generator = torch.Generator().manual_seed(training.seed)
    result = Fit()

    def step(pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        draws = draw(len(pictures), training.augmentation, generator)
        outputs = network(normalise(augment(pictures, draws)))
        loss = loss_of(outputs, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return main_output(outputs).detach(), loss.detach()

    @torch.inference_mode()
    def judge(pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        outputs = network(normalise(pictures))
        return main_output(outputs), loss_of(outputs, labels)

    for number in range(1, training.epochs + 1):
        rates = [group["lr"] for group in optimizer.param_groups]
        started = perf_counter()
        batches = batch_order(len(train), training.batch_size, training.shuffle, generator)
        title = f"Epoch {number}/{training.epochs}"
        network.train()
        train_loss, train_accuracy = _pass(train, batches, step, device, title)
        trained = perf_counter()
        batches = batch_order(len(validation), training.batch_size)
        network.eval()
        losses = _pass(validation, batches, judge, device, f"{title}, validation")
        validation_loss, validation_accuracy = losses
        schedule.step()

        for subset, loss in (("training", train_loss), ("validation", validation_loss)):
            if not np.isfinite(loss):
                raise NonFiniteLossError(number, subset, result)
        epoch = Epoch(
            epoch=number,
            learning_rate=rates[REST],
            head_learning_rate=rates[HEAD],
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            seconds=perf_counter() - started,
            images_per_second=len(train) / (trained - started),
        )
        result.add(epoch, network)
        _log_epoch(epoch, training.epochs, best=result.best is epoch)
        patience = training.early_stopping.patience
        if patience is not None and result.epochs_since_best >= patience:
            log.info("Stopped early: no better validation accuracy for %d epochs", patience)
            break
    return result


def main_output(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The logits, [n, 2], of a network that may have auxiliary outputs behind them."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def batch_order(
    count: int,
    batch_size: int,
    shuffle: bool = False,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Cut `count` pictures into batches.

    A last batch of one picture, on which batch normalisation fails, joins the batch before it.

    Returns:
        int64 index tensors, which together hold each of 0…count − 1 once.
    """
    order = torch.randperm(count, generator=generator) if shuffle else torch.arange(count)
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat((batches[-1], last))
    return batches


def _pass(
    pictures: LabelledPixels,
    batches: list[Tensor],
    act: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    device: torch.device,
    title: str,
) -> tuple[float, float]:
    """Go through a subset once; its mean loss and its accuracy.

    Sums stay on the device until the end, so that no step waits for it.
    """
    loss_sum = torch.zeros((), device=device)
    correct = torch.zeros((), device=device, dtype=torch.long)
    for chosen in _progress(batches, title):
        batch, labels = pictures.batch(chosen, device)
        logits, loss = act(batch, labels)
        loss_sum += loss * len(labels)
        correct += (logits.argmax(dim=1) == labels).sum()
    return loss_sum.item() / len(pictures), correct.item() / len(pictures)


def _progress(batches: list[Tensor], title: str) -> Iterator[Tensor]:
    yield from tqdm(batches, desc=title, unit="batch", leave=False, disable=None)


def _log_epoch(epoch: Epoch, epochs: int, *, best: bool) -> None:
    log.info(
        "Epoch %*d/%d: training loss %.4f, accuracy %.4f; validation loss %.4f, accuracy %.4f; "
        "%.1f s, %.0f images/s%s",
        len(str(epochs)), epoch.epoch, epochs, epoch.train_loss, epoch.train_accuracy,
        epoch.validation_loss, epoch.validation_accuracy, epoch.seconds, epoch.images_per_second,
        " (best so far)" if best else "",
    )  # fmt: skip
