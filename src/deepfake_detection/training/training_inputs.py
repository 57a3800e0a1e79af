"""From the pictures of a batch to what a network trains on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deepfake_detection.parameters import TrainingParameters
from deepfake_detection.training.augmentation import augment, draw
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.pixel_changes import change_pixels
from deepfake_detection.training.self_blending import BlendDraws, self_blend


class EpochInputs:
    """Augments the pictures of one epoch, batch after batch, with numbers drawn before it.

    Args:
        batches: Of the epoch; this process takes a part of each.
        generator: Of flips and angles; `more` of all others.

    Attributes:
        of_each: Pictures that a network sees of each picture of the data set: 2 with self-blending.
        seen: Pictures of the whole epoch that networks see, in all processes.
    """

    def __init__(
        self,
        batches: Sequence[Tensor],
        training: TrainingParameters,
        generator: torch.Generator,
        more: torch.Generator,
        processes: Processes,
    ) -> None:
        self._augmentation, self._blending = training.augmentation, training.self_blending
        count = sum(len(batch) for batch in batches)
        self.of_each = 2 if self._blending.enabled else 1
        self.seen = self.of_each * count
        places = torch.arange(count).split([len(batch) for batch in batches])
        own = torch.cat([processes.part(each) for each in places])
        draws = draw(count, self._augmentation, generator, more)
        self._draws = draws[own].to(processes.device)
        self._blends = BlendDraws.draw(count, more)[own] if self._blending.enabled else None
        self._done = 0

    def make(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Augment the next pictures, [n, 3, h, w], 0…255, with their labels, [n].

        Returns float32 pictures and labels; with self-blending the real ones, then a fake of each.
        """
        own = slice(self._done, self._done + len(labels))
        self._done += len(labels)
        draws, interpolation = self._draws[own], self._augmentation.interpolation
        if self._blends is None:
            return augment(pictures, draws, interpolation), labels
        moved = augment(pictures, draws.moving(), interpolation)
        pairs = torch.cat(self_blend(moved, self._blends[own], self._blending))
        if draws.pixels is not None:
            # the same for both of a pair, so that it tells them not apart
            twice = torch.arange(len(labels)).repeat(2)
            pairs = change_pixels(pairs, draws.pixels[twice])
        return pairs, torch.cat((labels, 1 - labels))
