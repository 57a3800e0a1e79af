"""The training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import torch
from torch import Tensor, nn
from tqdm import tqdm

from deepfake_detection.models.backbones import put_weights
from deepfake_detection.models.devices import use_ieee_float32
from deepfake_detection.models.forward import FAKE, REAL, Normalise
from deepfake_detection.parameters import BY_STEP, PreprocessingParameters, TrainingParameters
from deepfake_detection.training.batches import BatchLoader, LabelledPixels, fit_on
from deepfake_detection.training.checkpoints import State
from deepfake_detection.training.face_ellipses import find_ellipses
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.optimisation import Average, Loss, build_optimizer, build_schedule
from deepfake_detection.training.results import Epoch, Logits, TrainResult
from deepfake_detection.training.sampling import count_batches, divide, list_batches
from deepfake_detection.training.selection import check_selection, measure
from deepfake_detection.training.training_inputs import EpochInputs, seed_of
from deepfake_detection.training.tuning import freeze, group_parameters

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
        validates: Whether there is a validation subset.
        seen: Images of the last epoch, in all processes together.
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
        check_selection(training.select_by, validation)
        self._faces = None
        if training.self_blending.enabled:
            train = train.real()
            self._faces = find_ellipses(train, training.self_blending, preprocessing)
        network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        frozen = freeze(network, heads, training.tune)
        forward = processes.wrap(network)
        # several GPUs have other batch norm layers
        self._frozen_norms = [network.get_submodule(name) for name in frozen]
        self.network, self.is_main = network, processes.rank == 0
        self._forward = torch.compile(forward) if training.compile else forward
        self._training, self._processes = training, processes
        self._normalise = Normalise(preprocessing).to(device)
        backbone, head = group_parameters(network, heads, training.tune, training.optimizer)
        self._backbone_groups = len(backbone)
        self._optimizer = build_optimizer([*backbone, *head], training.optimizer)
        self._batches = count_batches(train, training, processes.count)
        steps = -(-self._batches // training.optimizer.accumulate)
        self._schedule = build_schedule(self._optimizer, training.schedule, training.epochs, steps)
        self._average = Average(network, training.ema) if training.ema else None
        # each real image has one fake in self-blending
        blended = training.self_blending.enabled
        self._loss = Loss(training.loss, torch.arange(2) if blended else train.labels, device)
        self._autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        self.bar = tqdm(disable=True)
        resident = fit_on(device, (train, validation))
        self.seen, self.validates = 0, len(validation) > 0
        self._train = BatchLoader(train, device, resident=resident)
        self._validation = BatchLoader(validation, device, resident=resident)

    @property
    def learning_rates(self) -> tuple[float, float]:
        """The highest of the backbone (0 if it is frozen) and of the head, in the coming epoch."""
        rates = [group["lr"] for group in self._optimizer.param_groups]
        backbone = self._backbone_groups
        return max(rates[:backbone], default=0.0), max(rates[backbone:])

    def open_bar(self, finished: int, epochs: int) -> tqdm:
        """Open the progress bar over all epochs, of which some may be finished."""
        batches = self._batches + -(-len(self._validation) // self._training.batch_size)
        self.bar = tqdm(
            total=epochs * batches, initial=finished * batches, desc="Training", mininterval=0.5,
            bar_format="{desc} {bar} {percentage:.0f} %, {remaining} left{postfix}",
            leave=False, disable=None if self.is_main else True,
        )  # fmt: skip
        return self.bar

    @property
    def scored_network(self) -> nn.Module:
        """The network that is scored and saved: the average of the weights, if there is one."""
        return self.network if self._average is None else self._average.network

    def train(self, epoch: int) -> tuple[float, float]:
        """Train on each picture once; mean loss and accuracy over the epoch.

        Order, augmentation and dropout depend on the seed and the epoch alone, so that a resumed
        training draws the same as an uninterrupted one.
        """
        training, processes = self._training, self._processes
        generator = torch.Generator().manual_seed(seed_of(training.seed, epoch))
        torch.manual_seed(seed_of(training.seed, epoch, 1 + processes.rank))
        batches = list_batches(self._train.pictures, training, generator, processes.count)
        inputs = EpochInputs(batches, training, epoch, generator, processes, self._faces)

        self.network.train()
        for layer in self._frozen_norms:
            layer.eval()
        sums, self.seen = torch.zeros(2, device=processes.device), inputs.seen
        self.bar.set_description(f"Epoch {epoch}/{training.epochs}", refresh=False)
        every, sizes = training.optimizer.accumulate, [len(batch) for batch in batches]
        for at, (pictures, labels, share, size) in enumerate(self._parts(self._train, batches)):
            augmented, targets = inputs.make(pictures, labels)
            with self._autocast:
                outputs = self._forward(self._normalise(augmented))
            loss = self._loss(outputs, targets, smooth=True)
            if at % every == 0:
                self._optimizer.zero_grad(set_to_none=True)
            # the gradients of all processes are averaged, not added up; those of the batches of one
            # step are added up
            of_step = sizes[at - at % every : at - at % every + every]
            weight = processes.count * share * size / sum(of_step)
            (loss if weight == 1 else loss * weight).backward()
            if at % every == every - 1 or at == len(batches) - 1:
                self._step()
            # a device is only waited for when the bar is drawn
            if self.bar.update():
                self.bar.set_postfix(loss=f"{loss.item():.3f}")
            loss = loss.detach() * (share * size * inputs.of_each)
            sums += _sums(_main_output(outputs).detach(), targets, loss)
        if training.schedule.name not in BY_STEP:
            self._schedule.step()
        for network in {self.network, self.scored_network}:
            processes.average_buffers(network)
        return self._means(sums, self.seen)

    def _step(self) -> None:
        """Update the weights from the gradients at hand."""
        training = self._training
        if training.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), training.optimizer.clip_norm)
        self._optimizer.step()
        if self._average is not None:
            self._average.update(self.network)
        if training.schedule.name in BY_STEP:
            self._schedule.step()

    @torch.inference_mode()
    def validate(self) -> tuple[float, float, Logits | None]:
        """Mean loss, accuracy and logits (see `TrainResult`) of the validation subset, if any.

        They are computed as a detector computes scores: in fp32, and not compiled.
        """
        if not self.validates:
            return math.nan, math.nan, None
        processes = self._processes
        everything = torch.arange(len(self._validation))
        batches = divide(everything, self._training.batch_size)
        places = torch.cat([processes.part(batch) for batch in batches]).to(processes.device)

        network = self.scored_network.eval()
        sums = torch.zeros(2, device=processes.device)
        logits = torch.zeros(len(self._validation), 2, device=processes.device)
        seen = [logits[:0]]
        for pictures, labels, share, size in self._parts(self._validation, batches):
            inputs = self._normalise(pictures)
            outputs = _main_output(network(inputs))
            if self._training.flip_average:
                outputs = (outputs + _main_output(network(inputs.flip(-1)))) / 2
            seen.append(outputs)
            loss = self._loss(outputs, labels)
            sums += _sums(outputs, labels, loss * (share * size))
            self.bar.update()
        logits[places] = torch.cat(seen)
        # each row is of one process, and 0 in the others
        rows = processes.all_reduce(logits).cpu().double()
        margins = (rows[:, FAKE] - rows[:, REAL]).numpy()
        return *self._means(sums, len(self._validation)), margins

    def measure(self, loss: float, accuracy: float, logits: Logits | None) -> float:
        """The value by which `training.select_by` compares epochs: see `measure`."""
        pictures = self._validation.pictures
        return measure(self._training.select_by, loss, accuracy, logits, pictures)

    def _parts(
        self, loader: BatchLoader, batches: list[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor, float, int]]:
        """Yield this process's part of each batch: pictures, labels, its share, the batch's size.

        The share is the weight of the part's mean loss in the mean loss of the batch.
        """
        processes = self._processes
        # a last validation batch may have fewer pictures than there are processes
        parts = [part for batch in batches if len(part := processes.part(batch))]
        loaded = loader.batches(parts)
        for (pictures, labels), part, batch in zip(loaded, parts, batches, strict=False):
            share = self._loss.share(loader.labels[part], loader.labels[batch])
            yield pictures, labels, share, len(batch)

    def _means(self, sums: Tensor, images: int) -> tuple[float, float]:
        loss, correct = self._processes.all_reduce(sums).tolist()
        return loss / images, correct / images

    def state_dict(self) -> State:
        """Weights, optimiser and schedule, as plain values and tensors."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            **({"average": self._average.state_dict()} if self._average else {}),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` gave, on any device."""
        put_weights(self.network, state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])


def train_network(
    trainer: Trainer,
    training: TrainingParameters,
    result: TrainResult | None = None,
    *,
    stop_after: int | None = None,
    after_epoch: Callable[[TrainResult], None] = lambda _: None,
) -> TrainResult:
    """Train a network, and keep the weights of the epoch that `training.select_by` chooses.

    Training stops at an infinite or NaN loss. To resume, pass the `result` of the finished epochs
    and a trainer loaded with the checkpoint. `stop_after`: see `TrainResult.ends`.
    """
    result = result or TrainResult()
    with trainer.open_bar(len(result.history), stop_after or training.epochs):
        _train_epochs(trainer, training, result, stop_after, after_epoch)
    return result


def _train_epochs(
    trainer: Trainer,
    training: TrainingParameters,
    result: TrainResult,
    stop_after: int | None,
    after_epoch: Callable[[TrainResult], None],
) -> None:
    while not result.ends(training, stop_after):
        number = len(result.history) + 1
        backbone_rate, head_rate = trainer.learning_rates
        started = perf_counter()
        train_loss, train_accuracy = trainer.train(number)
        trained = perf_counter()
        validation_loss, validation_accuracy, logits = trainer.validate()

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
            images_per_second=trainer.seen / (trained - started),
            selection=trainer.measure(validation_loss, validation_accuracy, logits),
        )
        result.add(epoch, trainer.scored_network, logits, keep=trainer.is_main)
        if trainer.is_main:
            trainer.bar.clear()
            _log_epoch(epoch, training.epochs, best=trainer.validates and result.best is epoch)
        after_epoch(result)


def _main_output(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return outputs[0] if isinstance(outputs, tuple) else outputs


def _sums(outputs: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
    # on the device, so that no step waits
    return torch.stack((loss, (outputs.argmax(dim=1) == labels).sum().float()))


def _log_epoch(epoch: Epoch, epochs: int, *, best: bool) -> None:
    loss, accuracy = epoch.validation_loss, epoch.validation_accuracy
    validation = "" if math.isnan(loss) else f"; validation {loss:.4f}, {accuracy:.4f}"
    log.info(
        "Epoch %*d/%d: loss %.4f, accuracy %.4f%s; %.1f s, %.0f images/s%s",
        len(str(epochs)), epoch.epoch, epochs, epoch.train_loss, epoch.train_accuracy, validation,
        epoch.seconds, epoch.images_per_second, " (best)" if best else "",
    )  # fmt: skip
