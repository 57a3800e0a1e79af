"""Optimiser, schedule, loss and compiler, chosen by names in the settings."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    StepLR,
)

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.parameters import (
    LossParameters,
    OptimizerParameters,
    ScheduleParameters,
)

# Places of the two learning rates among the optimiser's parameter groups
BACKBONE, HEAD = 0, 1


def build_optimizer(
    backbone: list[nn.Parameter], head: list[nn.Parameter], optimizer: OptimizerParameters
) -> Optimizer:
    """Adam with two parameter groups: the backbone, and the head at a multiple of the rate.

    Weight decay is an L2 term of the loss, as in the reference recipe, not AdamW's. `fused` updates
    all parameters in one pass on their device.
    """
    head_lr = optimizer.lr * optimizer.head_lr_multiple
    groups: list[dict[str, Any]] = [{"params": backbone}, {"params": head, "lr": head_lr}]
    return Adam(
        groups,
        lr=optimizer.lr,
        betas=optimizer.betas,
        weight_decay=optimizer.weight_decay,
        fused=True,
    )


def build_schedule(optimizer: Optimizer, schedule: ScheduleParameters, epochs: int) -> LRScheduler:
    """A schedule of both learning rates, stepped at the end of each epoch.

    Args:
        optimizer: The optimiser whose rates it changes.
        schedule: `none`, `step` (StepLR), `exponential` (ExponentialLR), `cosine`
            (CosineAnnealingLR, down to 0 after the last epoch).
        epochs: The number of epochs of the settings.
    """
    makers: dict[str, Callable[[], LRScheduler]] = {
        "none": lambda: LambdaLR(optimizer, lambda _: 1.0),
        "step": lambda: StepLR(optimizer, schedule.step_size, schedule.gamma),
        "exponential": lambda: ExponentialLR(optimizer, schedule.gamma),
        "cosine": lambda: CosineAnnealingLR(optimizer, T_max=epochs),
    }
    return makers[schedule.name]()


class Loss:
    """Cross-entropy of the main output, plus that of auxiliary outputs times their weight.

    Args:
        loss: Class weights and auxiliary weight.
        labels: int64, [n]: of all training images, from which `balanced` computes class weights.
        device: The device that computes it.
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
    """Check that torch.compile works, on a function of one line.

    Raises:
        UserError: With the reason, such as a missing C++ compiler.
    """
    try:
        torch.compile(_smallest)(torch.ones(8, device=device))
    # the compiler raises errors of many kinds
    except Exception as error:
        raise UserError(
            f"parameter 'training.compile': torch.compile does not work here "
            f"({first_line(error)}). On a CPU it needs a C++ compiler, as g++, on a GPU triton. "
            "Set training.compile=false."
        ) from error


def _smallest(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1
