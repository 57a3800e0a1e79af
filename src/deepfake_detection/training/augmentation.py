"""Augmentation of a whole batch on the device: what is drawn, and what is done with it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (the name that PyTorch's users know)
from torch import Tensor

from deepfake_detection.parameters import AugmentationParameters


@dataclass(frozen=True)
class Draws:
    """What was drawn for each of some pictures.

    Attributes:
        flips: bool, [n]: flip it from left to right.
        turns: float32, [n, 2, 3]: where the pixels of the turned picture come from, as an affine
            map around its centre; None where no picture is turned.
    """

    flips: Tensor
    turns: Tensor | None

    @classmethod
    def of(cls, flips: Tensor, angles: Tensor) -> Draws:
        """Draws of flips, bool [n], and angles, float64 [n], in degrees counter-clockwise."""
        if not angles.any():
            return cls(flips, None)
        radians = torch.deg2rad(angles)
        cos, sin, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
        turns = torch.stack((cos, -sin, zero, sin, cos, zero), dim=-1)
        return cls(flips, turns.view(-1, 2, 3).float())

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        turns = None if self.turns is None else self.turns.to(device)
        return Draws(self.flips.to(device), turns)

    def __getitem__(self, places: slice | Tensor) -> Draws:
        """The draws of some of the pictures."""
        return Draws(self.flips[places], None if self.turns is None else self.turns[places])


def draw(count: int, augmentation: AugmentationParameters, generator: torch.Generator) -> Draws:
    """Draw for `count` pictures, on the CPU, so that every device augments alike."""
    flips = torch.rand(count, generator=generator) < augmentation.flip
    turns = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    return Draws.of(flips, turns * augmentation.rotation)


def augment(batch: Tensor, draws: Draws) -> Tensor:
    """Flip, then rotate each picture: nearest neighbour, corners filled with 0.

    For equal draws the same as `horizontal_flip` and `rotate` of torchvision's
    `transforms.v2.functional`, picture by picture.

    Args:
        batch: [n, c, h, w], of any dtype and layout.
        draws: One for each picture, on the same device.

    Returns:
        float32, [n, c, h, w].
    """
    # grid_sample is slow on channels-last input; as long as pixels are bytes, they move faster
    batch = batch.contiguous()
    batch = torch.where(draws.flips.view(-1, 1, 1, 1), batch.flip(-1), batch).float()
    if draws.turns is None:
        return batch
    grid = _rotation_grid(draws.turns, *batch.shape[-2:])
    return F.grid_sample(batch, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _rotation_grid(turns: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of a rotated picture comes from: float32, [n, h, w, 2], in [-1, 1]."""
    # pixel centres around the centre of the picture; scaled, multiplied and added in torchvision's
    # order, so that rounding picks the same neighbours
    device = turns.device
    across = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=device)
    down = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=device)
    # filled on the device: a copy to it would wait for all that it has yet to do
    half = torch.stack((turns.new_full((), 0.5 * width), turns.new_full((), 0.5 * height)))
    by_across, by_down, _ = (turns.transpose(1, 2) / half).unbind(1)
    return across.view(1, 1, -1, 1) * by_across.view(-1, 1, 1, 2) + (
        down.view(1, -1, 1, 1) * by_down.view(-1, 1, 1, 2)
    )
