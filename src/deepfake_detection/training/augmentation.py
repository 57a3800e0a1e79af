"""Augmentation of whole batches on the device, with random numbers that are drawn on the CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812  (the name that PyTorch's users know)
from torch import Tensor

from deepfake_detection.parameters import AugmentationParameters
from deepfake_detection.training.pixel_changes import PixelDraws, change_pixels


@dataclass(frozen=True)
class Draws:
    """What is drawn for each picture: its flip (from left to right), its place and its pixels.

    Attributes:
        flips: bool, [n].
        theta: float32, [n, 2, 3]: the affine map from places in the new picture to places in the
            original, in pixels around its centre, divided by its side in the last column; None if
            no picture is moved.
        pixels: Changes of colour, sharpness and compression; None if there are none.
    """

    flips: Tensor
    theta: Tensor | None
    pixels: PixelDraws | None = None

    @classmethod
    def of(
        cls,
        flips: Tensor,
        angles: Tensor,
        scales: Tensor | None = None,
        shifts: Tensor | None = None,
    ) -> Draws:
        """From flips, bool [n], and angles, float64 [n], in degrees counter-clockwise.

        `scales`, [n], are factors of the content's size; `shifts`, [n, 2], its way to the right and
        down as shares of the picture's side. It is rotated, then scaled, then shifted.
        """
        moved = angles.any() or scales is not None or shifts is not None
        return cls(flips, affine_maps(angles, scales, shifts) if moved else None)

    def to(self, device: torch.device) -> Draws:
        """The same draws on a device."""
        theta = None if self.theta is None else self.theta.to(device)
        # those of pixels stay on the CPU, which decides what is done to which picture
        return Draws(self.flips.to(device), theta, self.pixels)

    def moving(self) -> Draws:
        """Flips and places alone."""
        return replace(self, pixels=None)

    def origins(self, height: int, width: int) -> Tensor:
        """Where each pixel comes from: float32, [n, h, w, 2], x and y as shares of the sides."""
        theta = self.theta
        if theta is None:
            upright = torch.zeros(len(self.flips), dtype=torch.float64)
            theta = affine_maps(upright).to(self.flips.device)
        places = (_sampling_grid(theta, height, width) + 1) / 2
        flipped = torch.stack((1 - places[..., 0], places[..., 1]), dim=-1)
        return torch.where(self.flips.view(-1, 1, 1, 1), flipped, places)

    def __getitem__(self, places: slice | Tensor) -> Draws:
        """The draws of some of the pictures."""
        theta = None if self.theta is None else self.theta[places]
        return Draws(self.flips[places], theta, self.pixels and self.pixels[places])


def affine_maps(
    angles: Tensor, scales: Tensor | None = None, shifts: Tensor | None = None
) -> Tensor:
    """Affine maps, float32 [n, 2, 3], as `Draws` has and describes them."""
    radians = torch.deg2rad(angles)
    cos, sin, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
    theta = torch.stack((cos, -sin, zero, sin, cos, zero), dim=-1).view(-1, 2, 3)
    if scales is not None:
        theta = theta / scales.view(-1, 1, 1)
    if shifts is not None:
        theta[:, :, 2:] = -theta[:, :, :2] @ shifts.double().unsqueeze(-1)
    return theta.float()


def draw(
    count: int,
    augmentation: AugmentationParameters,
    generator: torch.Generator,
    more: torch.Generator | None = None,
) -> Draws:
    """Draw for `count` pictures. On the CPU, so that every device augments alike.

    Flips and angles come from `generator`, all others from `more`, so that these change no flip.
    """
    flips = torch.rand(count, generator=generator) < augmentation.flip
    angles = torch.rand(count, generator=generator, dtype=torch.float64) * 2 - 1
    angles *= augmentation.rotation
    if more is None:
        return Draws.of(flips, angles)
    scales = torch.empty(count, dtype=torch.float64).uniform_(*augmentation.scale, generator=more)
    shift = augmentation.shift
    shifts = torch.empty(count, 2, dtype=torch.float64).uniform_(-shift, shift, generator=more)
    stays = torch.rand(count, generator=more) >= augmentation.moved
    angles[stays], scales[stays], shifts[stays] = 0, 1, 0
    draws = Draws.of(
        flips,
        angles,
        scales if augmentation.scale != (1.0, 1.0) else None,
        shifts if augmentation.shift else None,
    )
    return replace(draws, pixels=PixelDraws.draw(count, augmentation, more))


def augment(batch: Tensor, draws: Draws, interpolation: str = "nearest") -> Tensor:
    """Flip, move and change each picture; corners are filled with 0.

    From [n, c, h, w] of any dtype and layout to float32, 0…255. Flips and rotations are those of
    torchvision's `transforms.v2.functional.horizontal_flip` and `rotate`, others of its `affine`.
    """
    # grid_sample is slow on channels-last input; bytes are faster to rearrange than floats
    batch = batch.contiguous()
    batch = torch.where(draws.flips.view(-1, 1, 1, 1), batch.flip(-1), batch).float()
    if draws.theta is not None:
        batch = move(batch, draws.theta, interpolation)
    return batch if draws.pixels is None else change_pixels(batch, draws.pixels)


def move(batch: Tensor, theta: Tensor, interpolation: str) -> Tensor:
    """Sample pictures, float32 [n, c, h, w], at the places of affine maps (see `Draws`)."""
    grid = _sampling_grid(theta, *batch.shape[-2:])
    return F.grid_sample(batch, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def _sampling_grid(theta: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel of a new picture comes from: float32, [n, h, w, 2], in [-1, 1]."""
    # pixel centres, from the centre of the picture; the operations are in torchvision's order, so
    # that rounding picks the same neighbours
    device = theta.device
    across = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=device)
    down = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=device)
    # filled on the device: a copy from the CPU would wait for the work that is queued there
    half = torch.stack((theta.new_full((), 0.5 * width), theta.new_full((), 0.5 * height)))
    by_across, by_down, _ = (theta.transpose(1, 2) / half).unbind(1)
    grid = across.view(1, 1, -1, 1) * by_across.view(-1, 1, 1, 2) + (
        down.view(1, -1, 1, 1) * by_down.view(-1, 1, 1, 2)
    )
    # a share of the side is twice as much in [-1, 1]; adding 0 changes nothing
    return grid.add_(2 * theta[:, None, None, :, 2])
