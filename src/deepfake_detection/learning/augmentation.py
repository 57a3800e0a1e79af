"""Augmentation of a whole batch on the device: what is drawn, and what is done with it."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  (the name that PyTorch's users know)
from torch import Tensor

from deepfake_detection.parameters import AugmentationParameters


class Draws(NamedTuple):
    """What was drawn for each picture of a batch.

    Attributes:
        flips: bool, [n]: flip it from left to right.
        angles: float64, [n]: turn it so many degrees counter-clockwise.
    """

    flips: Tensor
    angles: Tensor


def draw(count: int, augmentation: AugmentationParameters, generator: torch.Generator) -> Draws:
    """Draw for `count` pictures, on the CPU, so that every device augments alike."""
    flips = torch.rand(count, generator=generator) < augmentation.flip
    turns = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    return Draws(flips, turns * augmentation.rotation)


def augment(batch: Tensor, draws: Draws) -> Tensor:
    """Flip, then rotate each picture: nearest neighbour, corners filled with 0.

    For equal draws the same as `horizontal_flip` and `rotate` of torchvision's
    `transforms.v2.functional`, picture by picture.

    Args:
        batch: [n, c, h, w], of any dtype and layout.
        draws: One for each picture.

    Returns:
        float32, [n, c, h, w].
    """
    # grid_sample is slow on channels-last input
    batch = batch.float().contiguous()
    flips = draws.flips.to(batch.device).view(-1, 1, 1, 1)
    batch = torch.where(flips, batch.flip(-1), batch)
    if not draws.angles.any():
        return batch
    grid = _rotation_grid(draws.angles, *batch.shape[-2:]).to(batch.device)
    return F.grid_sample(batch, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _rotation_grid(angles: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of a rotated picture comes from: float32, [n, h, w, 2], in [-1, 1]."""
    radians = torch.deg2rad(angles)
    cos, sin, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
    rows = (cos, -sin, zero, sin, cos, zero)
    theta = torch.stack(rows, dim=-1).view(-1, 2, 3).float()
    # pixel centres around the centre of the picture; scaled and multiplied in torchvision's order,
    # so that rounding picks the same neighbours
    grid = torch.ones(height, width, 3)
    grid[..., 0] = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width)
    grid[..., 1] = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height).unsqueeze(-1)
    scaled = theta.transpose(1, 2) / torch.tensor([0.5 * width, 0.5 * height])
    flat = grid.view(1, height * width, 3).expand(len(angles), -1, -1)
    return flat.bmm(scaled).view(-1, height, width, 2)
