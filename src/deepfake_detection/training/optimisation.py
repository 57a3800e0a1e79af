"""Optimiser, schedule and loss: each from one factory, chosen by a name in the settings."""

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

from deepfake_detection.parameters import (
    LossParameters,
    OptimizerParameters,
    ScheduleParameters,
)

# Places of the two learning rates among the optimiser's parameter groups
REST, HEAD = 0, 1


def build_optimizer(
    rest: list[nn.Parameter], head: list[nn.Parameter], optimizer: OptimizerParameters
) -> Optimizer:
    """Adam with two parameter groups: all but the head, and the head with its multiple of the rate.

    Weight decay is Adam's own, an L2 term of the loss, as in the reference recipe; not AdamW's.
    `fused` updates all parameters in one pass on their device.
    """
    head_lr = optimizer.lr * optimizer.head_lr_multiple
    groups: list[dict[str, Any]] = [{"params": rest}, {"params": head, "lr": head_lr}]
    return Adam(
        groups,
        lr=optimizer.lr,
        betas=optimizer.betas,
        weight_decay=optimizer.weight_decay,
        fused=True,
    )


def build_schedule(optimizer: Optimizer, schedule: ScheduleParameters, epochs: int) -> LRScheduler:
    """A schedule of both learning rates, to be stepped at the end of each epoch.

    Args:
        optimizer: Whose rates it changes.
        schedule: `none`, `step` (StepLR), `exponential` (ExponentialLR), `cosine`
            (CosineAnnealingLR, down to 0 after the last epoch).
        epochs: How many there will be at most.
    """
    makers: dict[str, Callable[[], LRScheduler]] = {
        "none": lambda: LambdaLR(optimizer, lambda _: 1.0),
        "step": lambda: StepLR(optimizer, schedule.step_size, schedule.gamma),
        "exponential": lambda: ExponentialLR(optimizer, schedule.gamma),
        "cosine": lambda: CosineAnnealingLR(optimizer, T_max=epochs),
    }
    return makers[schedule.name]()


class Loss:
    """Cross-entropy over the main output, and over auxiliary ones at their weight.

    Args:
        loss: Class weights and auxiliary weight.
        labels: Of all training images, int64, [n]: what `balanced` is computed from.
        device: Where it is computed.
    """

    def __init__(self, loss: LossParameters, labels: Tensor, device: torch.device) -> None:
        self._auxiliary_weight = loss.auxiliary_weight
        weights = torch.ones(2)
        if loss.class_weights == "balanced":
            weights = len(labels) / (2 * torch.bincount(labels, minlength=2).float())
        self._class_weights_here, self._class_weights = weights, weights.to(device)

    def __call__(self, outputs: Tensor | tuple[Tensor, ...], labels: Tensor) -> Tensor:
        """Mean loss of a batch: outputs [n, 2] (auxiliary ones behind it), labels int64, [n]."""
        main, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        total = self._cross_entropy(main, labels)
        for output in auxiliary:
            total = total + self._auxiliary_weight * self._cross_entropy(output, labels)
        return total

    def share(self, part: Tensor, batch: Tensor) -> float:
        """What a part's mean loss counts for in that of the whole batch, by the labels of both."""
        weights = self._class_weights_here
        return (weights[part].sum() / weights[batch].sum()).item()

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        # in full precision, whatever the network computes in
        return F.cross_entropy(logits.float(), labels, weight=self._class_weights)
