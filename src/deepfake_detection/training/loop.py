"""The training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from deepfake_detection.models.backbones import put_weights, split_parameters
from deepfake_detection.models.devices import use_ieee_float32
from deepfake_detection.models.forward import FAKE, REAL, Normalise
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters
from deepfake_detection.training.augmentation import augment, draw
from deepfake_detection.training.batches import BatchLoader, LabelledPixels, batch_order, fit_on
from deepfake_detection.training.checkpoints import State
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.optimisation import Loss, build_optimizer, build_schedule
from deepfake_detection.training.results import Epoch, Logits, TrainResult

log = logging.getLogger(__name__)


class Trainer:
    """Trains a network epoch by epoch.

    Args:
        network: From [n, 3, crop, crop] to [n, 2]; moved to the device and changed in place.
        heads: Names of the layers that learn at the head's rate.
        validation: The best epoch is chosen on it; may be empty.
        precision: fp32, or bf16 for the forward and backward pass of training steps. Weights, loss
            and update are always fp32; so is validation.

    Attributes:
        network: The network itself, without the wrappers of several processes and torch.compile.
        is_main: Whether this process keeps weights and logs.
        train_images: Images of one epoch, in all processes together.
        validates: Whether there is a validation subset.
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
        use_ieee_float32(device)
        # All batches but the last have one size: cuDNN measures once which algorithm is the fastest
        # for it. The switch holds for the process and stays on.
        torch.backends.cudnn.benchmark = True
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        forward = processes.wrap(network)
        self.network, self.is_main = network, processes.rank == 0
        self._forward = torch.compile(forward) if training.compile else forward
        self._training, self._processes = training, processes
        self._normalise = Normalise(preprocessing).to(device)
        parameters = split_parameters(network, list(heads))
        self._optimizer = build_optimizer(*parameters, training.optimizer)
        self._schedule = build_schedule(self._optimizer, training.schedule, training.epochs)
        self._loss = Loss(training.loss, train.labels, device)
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        resident = fit_on(device, (train, validation))
        self.train_images, self.validates = len(train), len(validation) > 0
        self._train = BatchLoader(train, device, resident=resident)
        self._validation = BatchLoader(validation, device, resident=resident)

    @property
    def learning_rates(self) -> tuple[float, float]:
        """Of the backbone and of the head, in the coming epoch."""
        backbone, head = self._optimizer.param_groups
        return backbone["lr"], head["lr"]

    def train(self, epoch: int) -> tuple[float, float]:
        """Train on each picture once; mean loss and accuracy over the epoch.

        Order, augmentation and dropout depend on the seed and the epoch alone, so that a resumed
        training draws the same as an uninterrupted one.
        """
        training, processes = self._training, self._processes
        generator = torch.Generator().manual_seed(_seed_of(training.seed, epoch))
        torch.manual_seed(_seed_of(training.seed, epoch, 1 + processes.rank))
        batches = batch_order(
            len(self._train), training.batch_size, training.shuffle, generator, processes.count
        )
        draws = draw(len(self._train), training.augmentation, generator)
        places = torch.arange(len(self._train)).split([len(batch) for batch in batches])
        draws = draws[torch.cat([processes.part(each) for each in places])].to(processes.device)

        self.network.train()
        sums, done = torch.zeros(2, device=processes.device), 0
        title = f"Epoch {epoch}/{training.epochs}"
        for pictures, labels, share, size in self._parts(self._train, batches, title):
            augmented = augment(pictures, draws[done : done + len(labels)])
            done += len(labels)
            with self._autocast:
                outputs = self._forward(self._normalise(augmented))
            loss = self._loss(outputs, labels)
            self._optimizer.zero_grad(set_to_none=True)
            # the gradients of all processes are averaged, not added up
            weight = processes.count * share
            (loss if weight == 1 else loss * weight).backward()
            self._optimizer.step()
            sums += _sums(_main_output(outputs).detach(), labels, loss.detach() * (share * size))
        self._schedule.step()
        processes.average_buffers(self.network)
        return self._means(sums, self._train)

    @torch.inference_mode()
    def validate(self, epoch: int) -> tuple[float, float, Logits | None]:
        """Mean loss, accuracy and logits (see `TrainResult`) of the validation subset, if any.

        They are computed as a detector computes scores: in fp32, and not compiled.
        """
        if not self.validates:
            return math.nan, math.nan, None
        processes = self._processes
        batches = batch_order(len(self._validation), self._training.batch_size)
        places = torch.cat([processes.part(batch) for batch in batches]).to(processes.device)

        self.network.eval()
        sums = torch.zeros(2, device=processes.device)
        logits = torch.zeros(len(self._validation), 2, device=processes.device)
        seen = [logits[:0]]
        title = f"Epoch {epoch}/{self._training.epochs}, validation"
        for pictures, labels, share, size in self._parts(self._validation, batches, title):
            outputs = _main_output(self.network(self._normalise(pictures)))
            seen.append(outputs)
            loss = self._loss(outputs, labels)
            sums += _sums(outputs, labels, loss * (share * size))
        logits[places] = torch.cat(seen)
        # each row is of one process, and 0 in the others
        rows = processes.all_reduce(logits).cpu().double()
        margins = (rows[:, FAKE] - rows[:, REAL]).numpy()
        return *self._means(sums, self._validation), margins

    def _parts(
        self, loader: BatchLoader, batches: list[Tensor], title: str
    ) -> Iterator[tuple[Tensor, Tensor, float, int]]:
        """Yield this process's part of each batch: pictures, labels, its share, the batch's size.

        The share is the weight of the part's mean loss in the mean loss of the batch.
        """
        processes = self._processes
        # a last validation batch may have fewer pictures than there are processes
        parts = [part for batch in batches if len(part := processes.part(batch))]
        bar = tqdm(
            loader.batches(parts), total=len(parts), desc=title, unit="batch", leave=False,
            disable=None if self.is_main else True,
        )  # fmt: skip
        for (pictures, labels), part, batch in zip(bar, parts, batches, strict=False):
            share = self._loss.share(loader.labels[part], loader.labels[batch])
            yield pictures, labels, share, len(batch)

    def _means(self, sums: Tensor, loader: BatchLoader) -> tuple[float, float]:
        loss, correct = self._processes.all_reduce(sums).tolist()
        return loss / len(loader), correct / len(loader)

    def state_dict(self) -> State:
        """Weights, optimiser and schedule, as plain values and tensors."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` gave, on any device."""
        put_weights(self.network, state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])


def train_network(
    trainer: Trainer,
    training: TrainingParameters,
    result: TrainResult | None = None,
    *,
    stop_after: int | None = None,
    after_epoch: Callable[[TrainResult], None] = lambda _: None,
) -> TrainResult:
    """Train a network, and keep the weights of the epoch with the best validation accuracy.

    Training stops at an infinite or NaN loss. To resume, pass the `result` of the finished epochs
    and a trainer loaded with the checkpoint. `stop_after`: see `TrainResult.ends`.
    """
    result = result or TrainResult()
    while not result.ends(training, stop_after):
        number = len(result.history) + 1
        backbone_rate, head_rate = trainer.learning_rates
        started = perf_counter()
        train_loss, train_accuracy = trainer.train(number)
        trained = perf_counter()
        validation_loss, validation_accuracy, logits = trainer.validate(number)

        if not math.isfinite(train_loss):
            result.not_finite = "training"
        elif trainer.validates and not math.isfinite(validation_loss):
            result.not_finite = "validation"
        if result.not_finite:
            break
        epoch = Epoch(
            epoch=number,
            learning_rate=backbone_rate,
            head_learning_rate=head_rate,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            seconds=perf_counter() - started,
            images_per_second=trainer.train_images / (trained - started),
        )
        result.add(epoch, trainer.network, logits, keep=trainer.is_main)
        if trainer.is_main:
            _log_epoch(epoch, training.epochs, best=trainer.validates and result.best is epoch)
        after_epoch(result)
    return result


def _main_output(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _sums(outputs: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
    # on the device, so that no step waits
    return torch.stack((loss, (outputs.argmax(dim=1) == labels).sum().float()))


def _seed_of(*numbers: int) -> int:
    """An independent random seed for each combination of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _log_epoch(epoch: Epoch, epochs: int, *, best: bool) -> None:
    loss, accuracy = epoch.validation_loss, epoch.validation_accuracy
    validation = (
        "" if math.isnan(loss) else f"; validation loss {loss:.4f}, accuracy {accuracy:.4f}"
    )
    log.info(
        "Epoch %*d/%d: training loss %.4f, accuracy %.4f%s; %.1f s, %.0f images/s%s",
        len(str(epochs)), epoch.epoch, epochs, epoch.train_loss, epoch.train_accuracy, validation,
        epoch.seconds, epoch.images_per_second, " (best so far)" if best else "",
    )  # fmt: skip
