"""From the pictures of a batch to what a network trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deepfake_detection.parameters import TrainingParameters
from deepfake_detection.training.augmentation import augment, draw
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.pixel_changes import change_pixels
from deepfake_detection.training.self_blending import BlendDraws, self_blend


def seed_of(*numbers: int) -> int:
    """An independent random seed for each combination of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class EpochInputs:
    """Augments the pictures of one epoch, batch after batch, with numbers drawn before it.

    Args:
        batches: Of the epoch; this process takes a part of each.
        generator: Of flips and angles, from which the order of the images was drawn. All others
            have one of their own, so that they change nothing of these.
        faces: Ellipses of all pictures, for self-blending: see `find_ellipses`.

    Attributes:
        of_each: Pictures that a network sees of each picture of the data set: 2 with self-blending.
        seen: Pictures of the whole epoch that networks see, in all processes.
    """

    def __init__(
        self,
        batches: Sequence[Tensor],
        training: TrainingParameters,
        epoch: int,
        generator: torch.Generator,
        processes: Processes,
        faces: Tensor | None = None,
    ) -> None:
        more = torch.Generator().manual_seed(seed_of(training.seed, epoch, 0, 1))
        self._augmentation = training.augmentation
        count = sum(len(batch) for batch in batches)
        self.of_each = 1 if faces is None else 2
        self.seen = self.of_each * count
        places = torch.arange(count).split([len(batch) for batch in batches])
        own = torch.cat([processes.part(each) for each in places])
        draws = draw(count, self._augmentation, generator, more)
        self._draws = draws[own].to(processes.device)
        self._blends, self._faces = None, faces
        if faces is not None:
            self._blends = BlendDraws.draw(count, more)[own]
            self._faces = faces[torch.cat(list(batches))[own]].to(processes.device)
        self._done = 0

    def make(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Augment the next pictures, [n, 3, h, w], 0…255, with their labels, [n].

        Returns float32 pictures and labels; with self-blending the real ones, then a fake of each.
        """
        own = slice(self._done, self._done + len(labels))
        self._done += len(labels)
        draws, interpolation = self._draws[own], self._augmentation.interpolation
        if self._blends is None or self._faces is None:
            return augment(pictures, draws, interpolation), labels
        moved = augment(pictures, draws.moving(), interpolation)
        origins = draws.origins(*moved.shape[-2:])
        pairs = torch.cat(self_blend(moved, self._blends[own], self._faces[own], origins))
        if draws.pixels is not None:
            # the same for both of a pair, so that it tells them not apart
            twice = torch.arange(len(labels)).repeat(2)
            pairs = change_pixels(pairs, draws.pixels[twice])
        return pairs, torch.cat((labels, 1 - labels))
