"""The training loop."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deepfake_detection.models.backbones import put_weights, split_parameters
from deepfake_detection.models.detector import Normalise
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters
from deepfake_detection.training.augmentation import augment, draw
from deepfake_detection.training.batches import BatchLoader, LabelledPixels, batch_order, fit_on
from deepfake_detection.training.checkpoints import State
from deepfake_detection.training.optimisation import (
    HEAD,
    REST,
    Loss,
    build_optimizer,
    build_schedule,
)
from deepfake_detection.training.processes import Processes

log = logging.getLogger(__name__)


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
class TrainResult:
    """What training has come to.

    Attributes:
        history: An entry for each epoch so far.
        best: The first of the epochs with the highest validation accuracy, or the last where there
            is no validation subset; None before the first.
        best_weights: A copy of the network's state in that epoch, on the CPU.
        not_finite: The subset whose loss became infinite or not a number in the epoch after the
            last of the history, which ended the training; None if none did.
    """

    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    not_finite: str | None = None

    def add(self, epoch: Epoch, network: nn.Module, *, keep_weights: bool = True) -> None:
        """Take in an epoch, and the weights if it is the best so far."""
        self.history.append(epoch)
        # without a validation subset its accuracy is no number, which is not below any other
        if self.best is not None and epoch.validation_accuracy <= self.best.validation_accuracy:
            return
        self.best = epoch
        if keep_weights:
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

    def ends(self, training: TrainingParameters, stop_after: int | None = None) -> bool:
        """Whether no further epoch follows.

        Args:
            training: The recipe.
            stop_after: The last epoch, if it is not the recipe's: learning rates keep their course.
        """
        epochs = training.epochs if stop_after is None else stop_after
        patience = training.early_stopping.patience
        out_of_patience = (
            patience is not None
            and self.best is not None
            and self.history[-1].epoch - self.best.epoch >= patience
        )
        return self.not_finite is not None or len(self.history) == epochs or out_of_patience

    def state_dict(self) -> State:
        """All of it, as plain values and tensors."""
        return {
            "history": [asdict(epoch) for epoch in self.history],
            "best": self.best.epoch if self.best else None,
            "best_weights": self.best_weights,
            "not_finite": self.not_finite,
        }

    @classmethod
    def from_state_dict(cls, state: State) -> "TrainResult":
        """The inverse of `state_dict`."""
        history = [Epoch(**epoch) for epoch in state["history"]]
        best = history[state["best"] - 1] if state["best"] else None
        return cls(history, best, state["best_weights"], state["not_finite"])


class Trainer:
    """Trains a network epoch by epoch.

    Args:
        network: From [n, 3, crop, crop] to [n, 2]; moved to the device and changed in place.
        heads: Names of the layers that learn at the head's rate.
        train: Pictures that it learns from.
        validation: Pictures that choose the epoch; none where nothing is chosen.
        preprocessing: Normalisation of the pictures.
        training: The recipe.
        precision: fp32, or bf16 where the network computes in it (weights, loss and update do not).
        processes: This process among those that train together.

    Attributes:
        network: The network itself, whatever is wrapped around it.
    """

    def __init__(
        self,
        network: nn.Module,
        heads: Sequence[str],
        train: LabelledPixels,
        validation: LabelledPixels,
        preprocessing: PreprocessingParameters,
        training: TrainingParameters,
        *,
        precision: str,
        processes: Processes,
    ) -> None:
        device = processes.device
        # pictures are all of one size, for which cuDNN may look for the fastest way
        torch.backends.cudnn.benchmark = True
        network = processes.synchronise_batch_norm(network)
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = network
        self._training, self._processes = training, processes
        self._normalise = Normalise(preprocessing).to(device)
        self._optimizer = build_optimizer(
            *split_parameters(network, list(heads)), training.optimizer
        )
        self._schedule = build_schedule(self._optimizer, training.schedule, training.epochs)
        self._loss = Loss(training.loss, train.labels, device)
        resident = fit_on(device, (train, validation))
        self._train = BatchLoader(train, device, resident=resident)
        self._validation = (
            BatchLoader(validation, device, resident=resident) if len(validation) else None
        )
        self._precision = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        forward = processes.wrap(network)
        self._forward = torch.compile(forward) if training.compile else forward

    @property
    def train_images(self) -> int:
        """Images that one epoch learns from, in all processes together."""
        return len(self._train)

    @property
    def validates(self) -> bool:
        """Whether there are pictures that choose the epoch."""
        return self._validation is not None

    @property
    def learning_rates(self) -> tuple[float, float]:
        """Of the rest and of the head, in the coming epoch."""
        groups = self._optimizer.param_groups
        return groups[REST]["lr"], groups[HEAD]["lr"]

    def train(self, epoch: int) -> tuple[float, float]:
        """Go through the train subset once, and learn; mean loss and accuracy on the way.

        Order, augmentation and dropout are drawn from the seed and the number of the epoch, so that
        a training that goes on after an interruption draws what it would have drawn.
        """
        training, processes = self._training, self._processes
        generator = torch.Generator().manual_seed(_seed_of(training.seed, epoch))
        torch.manual_seed(_seed_of(training.seed, epoch, 1 + processes.rank))
        batches = batch_order(
            len(self._train), training.batch_size, training.shuffle, generator, processes.count
        )
        drawn = draw(len(self._train), training.augmentation, generator)
        places = torch.arange(len(self._train)).split([len(batch) for batch in batches])
        drawn = drawn[torch.cat([processes.part(each) for each in places])].to(processes.device)
        place = 0

        def step(pictures: Tensor, labels: Tensor, share: float) -> tuple[Tensor, Tensor]:
            nonlocal place
            draws = drawn[place : place + len(labels)]
            place += len(labels)
            outputs, loss = self._judge(augment(pictures, draws), labels)
            self._optimizer.zero_grad(set_to_none=True)
            (loss if share == 1 else loss * share).backward()
            self._optimizer.step()
            return outputs.detach(), loss.detach()

        self.network.train()
        means = self._pass(self._train, batches, step, f"Epoch {epoch}/{training.epochs}")
        self._schedule.step()
        processes.average_buffers(self.network)
        return means

    @torch.inference_mode()
    def validate(self, epoch: int) -> tuple[float, float]:
        """Mean loss and accuracy on the validation subset; not a number where there is none."""
        if self._validation is None:
            return math.nan, math.nan
        batches = batch_order(len(self._validation), self._training.batch_size)
        self.network.eval()
        title = f"Epoch {epoch}/{self._training.epochs}, validation"
        return self._pass(self._validation, batches, lambda *batch: self._judge(*batch[:2]), title)

    def _judge(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, [b, 2], and mean loss of a batch."""
        with self._precision:
            outputs = self._forward(self._normalise(pictures))
        return main_output(outputs), self._loss(outputs, labels)

    def _pass(
        self,
        feed: BatchLoader,
        batches: list[Tensor],
        act: Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]],
        title: str,
    ) -> tuple[float, float]:
        """Go through a subset once; its mean loss and its accuracy.

        Sums stay on the device until the end, so that no step waits for it.
        """
        processes = self._processes
        # only a last batch of validation can be too small for a part of it to go to everyone
        parts = [part for batch in batches if len(part := processes.part(batch))]
        shares = [
            self._loss.share(feed.labels_of(part), feed.labels_of(batch))
            for part, batch in zip(parts, batches, strict=False)
        ]
        sums = torch.zeros(2, device=processes.device)
        bar = tqdm(
            zip(feed.batches(parts), shares, batches, strict=False),
            total=len(parts), desc=title, unit="batch", leave=False,
            disable=None if processes.keeps else True,
        )  # fmt: skip
        for (pictures, labels), share, batch in bar:
            # the gradients of all processes are averaged, not added up
            logits, loss = act(pictures, labels, processes.count * share)
            correct = (logits.argmax(dim=1) == labels).sum()
            sums += torch.stack((loss * (share * len(batch)), correct.float()))
        loss_sum, correct_sum = processes.add_up(sums).tolist()
        return loss_sum / len(feed), correct_sum / len(feed)

    def state_dict(self) -> State:
        """Weights, optimiser and schedule, as plain values and tensors."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take up what `state_dict` gave, on whatever device."""
        put_weights(self.network, state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def train_network(
    trainer: Trainer,
    training: TrainingParameters,
    fit: TrainResult | None = None,
    *,
    stop_after: int | None = None,
    after_epoch: Callable[[TrainResult], None] = lambda _: None,
    keeps: bool = True,
) -> TrainResult:
    """Train a network, and keep the weights of the epoch with the best validation accuracy.

    Without validation pictures they are those of the last epoch. It ends early with an epoch in
    which the loss is no finite number, and does not count it.

    Args:
        trainer: Of the network.
        training: The recipe: epochs, patience.
        fit: What came before an interruption, which the trainer's state goes with.
        stop_after: See `TrainResult.ends`.
        after_epoch: Called with what training has come to, to save it.
        keeps: Whether this process keeps the best weights, and logs.
    """
    fit = fit or TrainResult()
    while not fit.ends(training, stop_after):
        number = len(fit.history) + 1
        rates = trainer.learning_rates
        started = perf_counter()
        train_loss, train_accuracy = trainer.train(number)
        trained = perf_counter()
        validation_loss, validation_accuracy = trainer.validate(number)

        losses = {"training": train_loss}
        if trainer.validates:
            losses["validation"] = validation_loss
        fit.not_finite = next((name for name in losses if not np.isfinite(losses[name])), None)
        if fit.not_finite:
            break
        epoch = Epoch(
            epoch=number,
            learning_rate=rates[REST],
            head_learning_rate=rates[HEAD],
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            seconds=perf_counter() - started,
            images_per_second=trainer.train_images / (trained - started),
        )
        fit.add(epoch, trainer.network, keep_weights=keeps)
        if keeps:
            _log_epoch(epoch, training.epochs, best=trainer.validates and fit.best is epoch)
        after_epoch(fit)
    return fit


def main_output(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The main output of a network that may have auxiliary ones behind it."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _seed_of(*numbers: int) -> int:
    """A seed for one of many draws: NumPy's mixing keeps them independent."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _log_epoch(epoch: Epoch, epochs: int, *, best: bool) -> None:
    validation = ""
    if not math.isnan(epoch.validation_loss):
        validation = (
            f"; validation loss {epoch.validation_loss:.4f}, accuracy "
            f"{epoch.validation_accuracy:.4f}"
        )
    log.info(
        "Epoch %*d/%d: training loss %.4f, accuracy %.4f%s; %.1f s, %.0f images/s%s",
        len(str(epochs)), epoch.epoch, epochs, epoch.train_loss, epoch.train_accuracy, validation,
        epoch.seconds, epoch.images_per_second, " (best so far)" if best else "",
    )  # fmt: skip
