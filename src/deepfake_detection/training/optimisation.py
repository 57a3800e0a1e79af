"""Optimiser, schedule, loss and compiler, chosen by names in the settings."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.models.backbones import put_weights
from deepfake_detection.parameters import LossParameters, OptimizerParameters, ScheduleParameters


def build_optimizer(groups: list[dict[str, Any]], optimizer: OptimizerParameters) -> Optimizer:
    """The optimiser of groups of parameters, each with its own rate and weight decay.

    `fused` updates all parameters in one pass on their device. Adam's weight decay is an L2 term of
    the loss, as in the reference recipe, AdamW's is not (Loshchilov and Hutter 2019).
    """
    makers: dict[str, Callable[[], Optimizer]] = {
        "adam": lambda: Adam(groups, optimizer.lr, optimizer.betas, fused=True),
        "adamw": lambda: AdamW(groups, optimizer.lr, optimizer.betas, fused=True),
        "sgd": lambda: SGD(
            groups, optimizer.lr, optimizer.momentum, nesterov=optimizer.momentum > 0, fused=True
        ),
    }
    return makers[optimizer.name]()


def build_schedule(
    optimizer: Optimizer, schedule: ScheduleParameters, epochs: int, steps: int
) -> LRScheduler:
    """A schedule of all learning rates over `epochs` of `steps` optimiser steps each.

    Those of `BY_STEP` are stepped after each step, others at the end of each epoch. `cosine` and
    `cosine_steps` go down to 0 after the last epoch. `one_cycle` (Smith and Topin 2017) is that of
    PyTorch: from 1/25 of each rate to the rate, and down to almost 0.
    """
    total = epochs * steps
    warm = round(schedule.warmup * total)

    def warm_up_and_cosine(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(total - warm, 1)))

    makers: dict[str, Callable[[], LRScheduler]] = {
        "none": lambda: lr_scheduler.LambdaLR(optimizer, lambda _: 1.0),
        "step": lambda: lr_scheduler.StepLR(optimizer, schedule.step_size, schedule.gamma),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimizer, schedule.gamma),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
        "cosine_steps": lambda: lr_scheduler.LambdaLR(optimizer, warm_up_and_cosine),
        "one_cycle": lambda: lr_scheduler.OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            # the step after the last one sets rates too, which nothing uses
            total_steps=total + 1,
            pct_start=schedule.warmup,
            cycle_momentum=False,
        ),
    }
    return makers[schedule.name]()


class Average:
    """An exponential moving average of a network's weights and buffers, after each step.

    At step n, from 0, the decay is the smaller one of `decay` and (1 + n) / (10 + n): at first the
    average follows the weights closely.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        def update(averages: Any, values: Any, step: Any) -> None:
            # counted here: a number on the device would have to be waited for
            current = min(decay, (1 + self._steps) / (10 + self._steps))
            get_ema_multi_avg_fn(current)(averages, values, step)

        self._steps = 0
        self._model = AveragedModel(network, multi_avg_fn=update, use_buffers=True)

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights."""
        averaged: nn.Module = self._model.module
        return averaged

    def update(self, network: nn.Module) -> None:
        """Take in the weights after a step."""
        self._model.update_parameters(network)
        self._steps += 1

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, and the number of steps."""
        return self._model.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        put_weights(self._model, state)
        self._steps = int(self._model.n_averaged)


class Loss:
    """Cross-entropy of the main output, plus that of auxiliary outputs times their weight.

    `balanced` computes class weights from `labels`, int64 [n], of all training images.
    """

    def __init__(self, loss: LossParameters, labels: Tensor, device: torch.device) -> None:
        self._auxiliary_weight = loss.auxiliary_weight
        weights = torch.ones(2)
        if loss.class_weights == "balanced":
            weights = len(labels) / (2 * torch.bincount(labels, minlength=2).float())
        self._weights_on_cpu, self._weights = weights, weights.to(device)
        self._smoothing = loss.label_smoothing

    def __call__(
        self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor, *, smooth: bool = False
    ) -> Tensor:
        """Mean loss of a batch: outputs [n, 2] (with auxiliary ones, a tuple), labels int64 [n].

        `smooth`: with the label smoothing of the settings.
        """
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        smoothing = self._smoothing if smooth else 0.0
        total = self._cross_entropy(main, labels, smoothing)
        for output in auxiliary:
            more = self._cross_entropy(output, labels, smoothing)
            total = total + self._auxiliary_weight * more
        return total

    def share(self, part: Tensor, batch: Tensor) -> float:
        """The weight of a part's mean loss in the batch's mean loss, from the labels of both."""
        weights = self._weights_on_cpu
        return (weights[part].sum() / weights[batch].sum()).item()

    def _cross_entropy(self, logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
        # in float32, whatever the network computes in
        return F.cross_entropy(
            logits.float(), labels, weight=self._weights, label_smoothing=smoothing
        )


def check_compiler(device: torch.device) -> None:
    """Try torch.compile on a small function; UserError if, say, the C++ compiler is missing."""
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.ones(8, device=device))
    # the compiler raises errors of many kinds
    except Exception as error:
        raise UserError(
            f"parameter 'training.compile': torch.compile does not work here "
            f"({first_line(error)}). On a CPU it needs a C++ compiler, as g++, on a GPU triton. "
            "Set training.compile=false."
        ) from error
