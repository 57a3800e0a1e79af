"""Optimiser, schedule, loss and compiler, chosen by names in the settings."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.parameters import LossParameters, OptimizerParameters, ScheduleParameters


def build_optimizer(
    backbone: list[nn.Parameter], head: list[nn.Parameter], optimizer: OptimizerParameters
) -> Optimizer:
    """Adam with two parameter groups: the backbone, and the head at a multiple of the rate.

    Weight decay is an L2 term of the loss, as in the reference recipe, not AdamW's. `fused` updates
    all parameters in one pass on their device.
    """
    head_lr = optimizer.lr * optimizer.head_lr_multiple
    groups: list[dict[str, Any]] = [{"params": backbone}, {"params": head, "lr": head_lr}]
    decay = optimizer.weight_decay
    return Adam(groups, optimizer.lr, optimizer.betas, weight_decay=decay, fused=True)


def build_schedule(optimizer: Optimizer, schedule: ScheduleParameters, epochs: int) -> LRScheduler:
    """A schedule of both learning rates, stepped at the end of each epoch.

    `cosine` goes down to 0 after the last of the settings' `epochs`.
    """
    makers: dict[str, Callable[[], LRScheduler]] = {
        "none": lambda: lr_scheduler.LambdaLR(optimizer, lambda _: 1.0),
        "step": lambda: lr_scheduler.StepLR(optimizer, schedule.step_size, schedule.gamma),
        "exponential": lambda: lr_scheduler.ExponentialLR(optimizer, schedule.gamma),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs),
    }
    return makers[schedule.name]()


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

    def __call__(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Mean loss of a batch: outputs [n, 2] (with auxiliary ones, a tuple), labels int64 [n]."""
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        total = self._cross_entropy(main, labels)
        for output in auxiliary:
            total = total + self._auxiliary_weight * self._cross_entropy(output, labels)
        return total

    def share(self, part: Tensor, batch: Tensor) -> float:
        """The weight of a part's mean loss in the batch's mean loss, from the labels of both."""
        weights = self._weights_on_cpu
        return (weights[part].sum() / weights[batch].sum()).item()

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        # in float32, whatever the network computes in
        return F.cross_entropy(logits.float(), labels, weight=self._weights)


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
