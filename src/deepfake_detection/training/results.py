"""What a training gives, epoch by epoch, and what is left of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from deepfake_detection.models.detector_file import DetectorFile
from deepfake_detection.parameters import TrainingParameters
from deepfake_detection.training.checkpoints import State

Logits = np.ndarray[Any, np.dtype[np.float64]]


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
    # of `training.select_by`: higher is better; NaN without a validation subset
    selection: float = math.nan


@dataclass
class TrainResult:
    """The result of a training, or of its epochs so far.

    Attributes:
        history: A row for each epoch.
        best: The first epoch with the highest `selection`; without a validation subset, the last
            epoch.
        best_weights: A copy of the network's state dict in that epoch, on the CPU.
        validation_logits: float64, [n]: fake minus real of each validation image in that epoch, in
            the order of the split; None without a validation subset.
        not_finite: `training` or `validation`, if that loss became infinite or NaN, which ends the
            training; the history lacks that epoch.
    """

    history: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    validation_logits: Logits | None = None
    not_finite: str | None = None

    def add(self, epoch: Epoch, network: nn.Module, logits: Logits | None, *, keep: bool) -> None:
        """Add an epoch; if it is the best so far, keep its logits, and its weights if asked to."""
        self.history.append(epoch)
        # NaN compares false: without a validation subset the last epoch is kept
        if self.best is not None and epoch.selection <= self.best.selection:
            return
        self.best, self.validation_logits = epoch, logits
        if keep:
            # state_dict() refers to the live weights, which the next epoch changes
            self.best_weights = {
                name: value.detach().to("cpu", copy=True)
                for name, value in network.state_dict().items()
            }

    @property
    def chosen(self) -> Epoch:
        """The best epoch; a ValueError before the first one."""
        if self.best is None:
            raise ValueError("there was no epoch yet")
        return self.best

    def ends(self, training: TrainingParameters, stop_after: int | None = None) -> bool:
        """Whether no further epoch follows.

        `stop_after` is the last epoch, if it is not that of the settings; learning rates still
        follow the schedule over all epochs of the settings.
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
        """Plain values and tensors."""
        logits = self.validation_logits
        return {
            "history": [asdict(epoch) for epoch in self.history],
            "best": self.best.epoch if self.best else None,
            "best_weights": self.best_weights,
            "validation_logits": None if logits is None else torch.from_numpy(logits),
            "not_finite": self.not_finite,
        }

    @classmethod
    def from_state_dict(cls, state: State) -> TrainResult:
        """The inverse of `state_dict`."""
        # checkpoints of older versions were selected by accuracy
        history = [
            Epoch(**{"selection": epoch["validation_accuracy"]} | epoch)
            for epoch in state["history"]
        ]
        best = history[state["best"] - 1] if state["best"] else None
        logits = state["validation_logits"]
        logits = None if logits is None else logits.numpy()
        return cls(history, best, state["best_weights"], logits, state["not_finite"])


@dataclass(frozen=True)
class FinishedRun:
    """What a training left: an uncalibrated detector, and the tables of `TrainedRun`."""

    detector: DetectorFile
    read_history: Callable[[], pd.DataFrame]
    read_validation_logits: Callable[[], pd.DataFrame]


# The newest finished training of each run fingerprint
FinishedRuns = dict[str, FinishedRun]
