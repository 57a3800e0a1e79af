"""Fakes made of real training images: self-blended images.

After Shiohara and Yamasaki 2022 (arXiv 2204.08376), section 3: of two copies of a face one is
changed in colour or sharpness; one copy is moved a little, and blended into the other inside a
deformed, softened mask. The real image of the pair is the copy that it is blended into. The mask
starts as an ellipse around the face (see `find_ellipses`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deepfake_detection.training.augmentation import affine_maps, move
from deepfake_detection.training.pixel_changes import (
    change_colours,
    change_sharpness,
    colour_matrices,
)

# The paper's ranges, where it gives them: of colour and sharpness, of the move and the size of the
# source, of the ratio of blending
_SHIFT = 20.0  # of each channel, of 255
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 0.1, 0.1, 0.15, 0.02
_FACTORS = (0.25, 0.5)  # of scaling down
_SHARPENING = (0.2, 0.5)
_MOVE_ACROSS, _MOVE_DOWN = 0.03, 0.015
_ZOOM = 0.95
_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
# Of the mask, our own: factors of the radii; places of the deformation, and its strength as a share
# of a radius; width of the edge, as a share of a radius
_RADII = (0.7, 1.1)
_GRID, _DEFORMATION = 5, 0.25
_EDGE = (0.15, 0.6)


@dataclass(frozen=True)
class BlendDraws:
    """What is drawn for each pair; [n] where no shape is named.

    Attributes:
        changes_source: bool: the copy that is blended in is changed; else the other one.
        sharpens: bool: it is sharpened; else scaled down and up again.
        colour: float64, [n, 3, 3]; contrast: float64: see `change_colours`.
        shift: float32, [n, 3]: added to the channels.
        factor: float64: of scaling down. sharpening: float64: how strong.
        theta: float32, [n, 2, 3]: how the source is moved; see `Draws`.
        radii: float32, [n, 2]: factors of the ellipse's radii.
        deformation: float32, [n, 2, grid, grid]: of the mask.
        edge: float32: width of the mask's edge, as a share of a radius.
        ratio: float32: of the source inside the mask.
    """

    changes_source: Tensor
    sharpens: Tensor
    colour: Tensor
    contrast: Tensor
    shift: Tensor
    factor: Tensor
    sharpening: Tensor
    theta: Tensor
    radii: Tensor
    deformation: Tensor
    edge: Tensor
    ratio: Tensor

    @classmethod
    def draw(cls, count: int, generator: torch.Generator) -> BlendDraws:
        """Draw for `count` pairs, on the CPU."""

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            drawn = torch.rand(count, *shape, generator=generator, dtype=torch.float64)
            return drawn * (high - low) + low

        changes_source, sharpens = (uniform(0, 1) < 0.5 for _ in range(2))
        brightness, contrast, saturation = (
            uniform(1 - each, 1 + each) for each in (_BRIGHTNESS, _CONTRAST, _SATURATION)
        )
        never = torch.zeros(count, dtype=torch.bool)
        colour = colour_matrices(brightness, saturation, uniform(-_HUE, _HUE), never)
        limits = torch.tensor([_MOVE_ACROSS, _MOVE_DOWN], dtype=torch.float64)
        upright = torch.zeros(count, dtype=torch.float64)
        theta = affine_maps(upright, uniform(_ZOOM, 1 / _ZOOM), uniform(-1, 1, 2) * limits)
        ratios = torch.tensor(_RATIOS)
        return cls(
            changes_source=changes_source,
            sharpens=sharpens,
            colour=colour,
            contrast=contrast,
            shift=uniform(-_SHIFT, _SHIFT, 3).float(),
            # in steps, see `filter_matrices`
            factor=(uniform(*_FACTORS) / 0.02).round() * 0.02,
            sharpening=uniform(*_SHARPENING),
            theta=theta,
            radii=uniform(*_RADII, 2).float(),
            deformation=uniform(-_DEFORMATION, _DEFORMATION, 2, _GRID, _GRID).float(),
            edge=uniform(*_EDGE).float(),
            ratio=ratios[torch.randint(len(ratios), (count,), generator=generator)],
        )

    def __getitem__(self, places: slice | Tensor) -> BlendDraws:
        """The draws of some of the pairs."""
        return BlendDraws(*(getattr(self, each.name)[places] for each in fields(self)))


def self_blend(
    batch: Tensor, draws: BlendDraws, faces: Tensor, origins: Tensor
) -> tuple[Tensor, Tensor]:
    """Make a pair of each real picture: the real one and the fake one.

    From float32 [n, 3, h, w], 0…255, to two of the same shape and range. `faces` and `origins`: see
    `draw_mask`.
    """
    device = batch.device
    changed = _change(batch, draws)
    first = draws.changes_source.to(device).view(-1, 1, 1, 1)
    source, target = torch.where(first, changed, batch), torch.where(first, batch, changed)
    source = move(source, draws.theta.to(device), "bilinear")
    mask = draw_mask(draws, faces, origins)
    # where the moved copy has no pixels, nothing is blended in
    there = move(torch.ones_like(mask), draws.theta.to(device), "bilinear")
    return target, torch.lerp(target, source, mask * there)


def _change(batch: Tensor, draws: BlendDraws) -> Tensor:
    changed = batch + draws.shift.to(batch.device).unsqueeze(-1).unsqueeze(-1)
    changed = change_colours(changed.clamp_(0, 255), draws.colour, draws.contrast)
    none = torch.zeros_like(draws.factor)
    return change_sharpness(
        changed,
        torch.where(draws.sharpens, 1.0, draws.factor),
        torch.where(draws.sharpens, draws.sharpening, none),
    )


def draw_mask(draws: BlendDraws, faces: Tensor, origins: Tensor) -> Tensor:
    """Masks, float32 [n, 1, h, w], in [0, 1]: a deformed, soft ellipse, times the ratio.

    `faces`, [n, 2, 3], are ellipses as in `find_ellipses`; `origins`, [n, h, w, 2], says where
    each pixel was before its picture was moved: see `Draws.origins`.
    """
    device, (height, width) = origins.device, origins.shape[1:3]
    axes, shift = faces.to(device).split((2, 1), dim=2)
    place = (origins.flatten(1, 2) @ axes.mT + shift.mT).mT.unflatten(2, (height, width))
    place = place / draws.radii.to(device).view(-1, 2, 1, 1)
    deformation = F.interpolate(
        draws.deformation.to(device), (height, width), mode="bicubic", align_corners=False
    )
    distance = (place + deformation).norm(dim=1, keepdim=True)
    # from 1 inside to 0 at the ellipse, smooth at both ends (Hermite)
    inside = ((1 - distance) / draws.edge.to(device).view(-1, 1, 1, 1)).clamp(0, 1)
    return inside * inside * (3 - 2 * inside) * draws.ratio.to(device).view(-1, 1, 1, 1)
