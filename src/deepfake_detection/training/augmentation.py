"""Augmentation: flips and rotations, drawn on the CPU, applied to a whole batch on the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (the name that PyTorch's users know)
from torch import Tensor

from deepfake_detection.parameters import AugmentationParameters


@dataclass(frozen=True)
class Draws:
    """The random flip (from left to right) and rotation of each picture.

    Attributes:
        flips: bool, [n].
        theta: float32, [n, 2, 3]: the affine map from places in the rotated picture to places in
            the original, around its centre; None if no picture is rotated.
    """

    flips: Tensor
    theta: Tensor | None

    @classmethod
    def of(cls, flips: Tensor, angles: Tensor) -> Draws:
        """From flips, bool [n], and angles, float64 [n], in degrees counter-clockwise."""
        if not angles.any():
            return cls(flips, None)
        radians = torch.deg2rad(angles)
        cos, sin, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
        theta = torch.stack((cos, -sin, zero, sin, cos, zero), dim=-1)
        return cls(flips, theta.view(-1, 2, 3).float())

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        theta = None if self.theta is None else self.theta.to(device)
        return Draws(self.flips.to(device), theta)

    def __getitem__(self, places: slice | Tensor) -> Draws:
        """The draws of some of the pictures."""
        return Draws(self.flips[places], None if self.theta is None else self.theta[places])


def draw(count: int, augmentation: AugmentationParameters, generator: torch.Generator) -> Draws:
    """Draw for `count` pictures. On the CPU, so that every device augments alike."""
    flips = torch.rand(count, generator=generator) < augmentation.flip
    angles = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    return Draws.of(flips, angles * augmentation.rotation)


def augment(batch: Tensor, draws: Draws) -> Tensor:
    """Flip, then rotate each picture: nearest neighbour, corners filled with 0.

    From [n, c, h, w] of any dtype and layout to float32. The result is that of torchvision's
    `transforms.v2.functional.horizontal_flip` and `rotate`.
    """
    # grid_sample is slow on channels-last input; bytes are faster to rearrange than floats
    batch = batch.contiguous()
    batch = torch.where(draws.flips.view(-1, 1, 1, 1), batch.flip(-1), batch).float()
    if draws.theta is None:
        return batch
    grid = _rotation_grid(draws.theta, *batch.shape[-2:])
    return F.grid_sample(batch, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _rotation_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of a rotated picture comes from: float32, [n, h, w, 2], in [-1, 1]."""
    # pixel centres, from the centre of the picture; the operations are in torchvision's order, so
    # that rounding picks the same neighbours
    device = theta.device
    across = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=device)
    down = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=device)
    # filled on the device: a copy from the CPU would wait for the work that is queued there
    half = torch.stack((theta.new_full((), 0.5 * width), theta.new_full((), 0.5 * height)))
    by_across, by_down, _ = (theta.transpose(1, 2) / half).unbind(1)
    return across.view(1, 1, -1, 1) * by_across.view(-1, 1, 1, 2) + (
        down.view(1, -1, 1, 1) * by_down.view(-1, 1, 1, 2)
    )
