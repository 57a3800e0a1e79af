"""Changes of the pixels of whole batches: colour, blur, scaling, noise, JPEG, cutout.

Blur and scaling are linear along rows and columns, so that both together are one matrix on each
side of a picture, whatever their strength is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache, partial

import joblib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deepfake_detection.images.distortions import compress
from deepfake_detection.parameters import AugmentationParameters

# ITU-R BT.601, as torchvision and Pillow compute grey
_LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
# From RGB to Y, I, Q (FCC 1953): Y is luma, and a turn in the plane of I and Q changes the hue
_TO_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64
)
_MOST_MATRICES = 128
_STEP_OF_SIGMA, _STEP_OF_FACTOR = 0.05, 0.02


@dataclass(frozen=True)
class PixelDraws:
    """What is drawn for the pixels of each picture; [n] where no shape is named.

    Attributes:
        colour: float64, [n, 3, 3]: from RGB to RGB.
        contrast: float64: factor of the distance from the picture's mean luma.
        sigma: float64: of the blur, pixels, in steps of 0.05; 0: none.
        factors: float64, [n, 2]: of scaling down, the first and the second time, in steps of 0.02;
            1: none.
        deviation: float32: of the noise, of 255; 0: none.
        qualities: int64, [n, 2]: of JPEG, the first and the second time; 0: none.
        cutout: float64, [n, 4]: left, top, right, bottom as shares of the sides; all 0: none.
        seeds: int64: of the noise.
    """

    colour: Tensor
    contrast: Tensor
    sigma: Tensor
    factors: Tensor
    deviation: Tensor
    qualities: Tensor
    cutout: Tensor
    seeds: Tensor

    @classmethod
    def draw(
        cls, count: int, augmentation: AugmentationParameters, generator: torch.Generator
    ) -> PixelDraws | None:
        """Draw for `count` pictures; None if all probabilities are 0.

        All numbers are drawn in any case: a parameter of one change moves no other.
        """
        settings = augmentation
        uniform = partial(_uniform, count, generator)

        def chosen(probability: float) -> Tensor:
            return uniform(0, 1) < probability

        colour = settings.colour
        some = chosen(colour.probability)
        brightness, contrast, saturation = (
            torch.where(some, uniform(1 - each, 1 + each), 1.0)
            for each in (colour.brightness, colour.contrast, colour.saturation)
        )
        hue = torch.where(some, uniform(-colour.hue, colour.hue), 0.0)
        grey = chosen(settings.grey)
        sigma = _round(uniform(*settings.blur.sigma), _STEP_OF_SIGMA)
        sigma = torch.where(chosen(settings.blur.probability), sigma, 0.0)
        scaled, compressed = (
            chosen(each.probability) for each in (settings.scaling, settings.jpeg)
        )
        twice = chosen(settings.twice)
        low, high = settings.jpeg.quality
        factors, qualities = [], []
        for wanted in (torch.ones_like(twice), twice):
            factor = _round(uniform(*settings.scaling.factor), _STEP_OF_FACTOR)
            factors.append(torch.where(scaled & wanted, factor, 1.0))
            quality = uniform(low, high + 1).floor().clamp_(max=high).long()
            qualities.append(torch.where(compressed & wanted, quality, 0))
        noisy = chosen(settings.noise.probability)
        deviation = torch.where(noisy, uniform(*settings.noise.deviation), 0.0)
        sides = torch.stack([uniform(*settings.cutout.side) for _ in range(2)], dim=1)
        corner = torch.stack([uniform(0, 1) for _ in range(2)], dim=1) * (1 - sides)
        cutout = torch.cat([corner, corner + sides], dim=1)
        cutout *= chosen(settings.cutout.probability).unsqueeze(1)
        seeds = torch.randint(2**31, (count,), generator=generator)
        changes = (colour, settings.blur, settings.scaling, settings.noise, settings.jpeg)
        if not settings.grey and not any(each.probability for each in (*changes, settings.cutout)):
            return None
        return cls(
            colour_matrices(brightness, saturation, hue, grey), contrast, sigma,
            torch.stack(factors, 1), deviation.float(), torch.stack(qualities, 1), cutout, seeds,
        )  # fmt: skip

    def __getitem__(self, places: slice | Tensor) -> PixelDraws:
        """The draws of some of the pictures."""
        return PixelDraws(*(getattr(self, each.name)[places] for each in fields(self)))


def change_pixels(batch: Tensor, draws: PixelDraws) -> Tensor:
    """Change pictures, float32 [n, 3, h, w], 0…255, as drawn; the same size, dtype and range."""
    batch = change_colours(batch, draws.colour, draws.contrast)
    first, second = draws.factors.unbind(dim=1)
    batch = _filter(batch, draws.sigma, first)
    batch = _change(batch, draws.deviation > 0, _add_noise, draws.deviation, draws.seeds)
    batch = _change(batch, draws.qualities[:, 0] > 0, _compress, draws.qualities[:, 0])
    batch = _filter(batch, torch.zeros_like(second), second)
    batch = _change(batch, draws.qualities[:, 1] > 0, _compress, draws.qualities[:, 1])
    return _change(batch, draws.cutout.any(dim=1), _cut_out, draws.cutout)


def _change(batch: Tensor, chosen: Tensor, change: Callable[..., Tensor], *drawn: Tensor) -> Tensor:
    """Change the chosen pictures of a batch in place."""
    places = chosen.nonzero()[:, 0]
    if len(places):
        there = places.to(batch.device)
        batch[there] = change(batch[there], *(each[places] for each in drawn))
    return batch


def colour_matrices(brightness: Tensor, saturation: Tensor, hue: Tensor, grey: Tensor) -> Tensor:
    """Linear maps from RGB to RGB: float64, [n, 3, 3]; each argument is [n].

    `brightness` and `saturation` are factors as in torchvision's `adjust_…`, `hue` is a share of a
    full turn (in the plane of I and Q), `grey` (bool) removes all colour.
    """
    identity = torch.eye(3, dtype=torch.float64)
    to_grey = _LUMA.expand(3, 3)
    angle = 2 * torch.pi * hue.double().view(-1, 1, 1)
    turn = torch.zeros(len(hue), 3, 3, dtype=torch.float64)
    turn[:, 0, 0] = 1
    turn[:, 1:, 1:] = angle.cos() * torch.eye(2, dtype=torch.float64)
    turn[:, 1:, 1:] += angle.sin() * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    turned = torch.linalg.inv(_TO_YIQ) @ turn @ _TO_YIQ
    mix = torch.where(grey, 0.0, saturation.double()).view(-1, 1, 1)
    return brightness.double().view(-1, 1, 1) * turned @ (mix * identity + (1 - mix) * to_grey)


def change_colours(batch: Tensor, colour: Tensor, contrast: Tensor) -> Tensor:
    """Apply colour maps, [n, 3, 3], then contrast, [n], around the mean luma, in place."""
    identity = torch.eye(3, dtype=torch.float64)
    chosen = ((colour - identity).abs().amax(dim=(1, 2)) > 0) | (contrast != 1)
    return _change(batch, chosen, _map_colours, colour, contrast)


def _map_colours(batch: Tensor, colour: Tensor, contrast: Tensor) -> Tensor:
    count, _, height, width = batch.shape
    means = batch.mean(dim=(2, 3)).cpu().double().unsqueeze(-1)
    offset = (1 - contrast).view(-1, 1, 1) * (_LUMA @ (colour @ means)).unsqueeze(-1)
    matrix = contrast.view(-1, 1, 1) * colour
    offset, matrix = (each.to(batch.device, torch.float32) for each in (offset, matrix))
    mapped = torch.baddbmm(offset, matrix, batch.reshape(count, 3, -1))
    return mapped.view(count, 3, height, width).clamp_(0, 255)


def _filter(batch: Tensor, sigma: Tensor, factors: Tensor) -> Tensor:
    """Blur (0: not), then scale down and up again (1: not), in place."""
    chosen = ((sigma > 0) | (factors < 1)).nonzero()[:, 0]
    if len(chosen):
        there = chosen.to(batch.device)
        rows, columns = (
            filter_matrices(side, sigma[chosen], factors[chosen]).to(batch.device).unsqueeze(1)
            for side in batch.shape[-2:]
        )
        batch[there] = rows @ batch[there] @ columns.transpose(2, 3)
    return batch


def change_sharpness(batch: Tensor, factors: Tensor, sharpening: Tensor) -> Tensor:
    """Scale down and up again (1: not), then sharpen (0: not), in place; each argument is [n].

    Sharpening adds so much of the difference from a blur of sigma 1 pixel.
    """
    batch = _filter(batch, torch.zeros_like(factors), factors)

    def sharpen(pictures: Tensor, strength: Tensor) -> Tensor:
        ones = torch.ones_like(strength)
        blurred = _filter(pictures.clone(), ones, ones)
        much = 1 + strength.to(batch.device, torch.float32).view(-1, 1, 1, 1)
        return torch.lerp(blurred, pictures, much).clamp_(0, 255)

    return _change(batch, sharpening > 0, sharpen, sharpening)


def filter_matrices(side: int, sigma: Tensor, factors: Tensor) -> Tensor:
    """Blur, then scaling down and up again, along one side: float32, [n, side, side]."""
    matrices = torch.stack([_scaling_matrix(side, each) for each in factors.tolist()])
    blurred = sigma > 0
    if blurred.any():
        blurs = torch.stack([_blur_matrix(side, each) for each in sigma[blurred].tolist()])
        matrices[blurred] = matrices[blurred] @ blurs
    return matrices


# few different matrices, as strengths are drawn in steps
@lru_cache(_MOST_MATRICES)
def _blur_matrix(side: int, sigma: float) -> Tensor:
    return blur_matrix(side, sigma).float()


@lru_cache(_MOST_MATRICES)
def _scaling_matrix(side: int, factor: float) -> Tensor:
    smaller = max(1, round(side * factor))
    return (resize_matrix(smaller, side) @ resize_matrix(side, smaller)).float()


def blur_matrix(side: int, sigma: float) -> Tensor:
    """A Gaussian along one side, mirrored at its ends: float64, [side, side]."""
    places = torch.arange(side, dtype=torch.float64)
    here, there = places.view(-1, 1), places.view(1, -1)
    mirrored = [there, -there, 2 * (side - 1) - there]
    weights = [torch.exp(-((here - each) ** 2) / (2 * sigma**2)) for each in mirrored]
    # the first and the last pixel are their own mirror images
    weights[1][:, 0] = 0
    weights[2][:, -1] = 0
    matrix = sum(weights, torch.zeros(side, side, dtype=torch.float64))
    return matrix / matrix.sum(dim=1, keepdim=True)


def resize_matrix(side: int, new: int) -> Tensor:
    """Bilinear, antialiased resizing of one side: float64, [new, side]. As Pillow and PyTorch."""
    step = side / new
    support = max(step, 1.0)
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * step
    places = torch.arange(side, dtype=torch.float64) + 0.5
    weights = (1 - (places.view(1, -1) - centres.view(-1, 1)).abs() / support).clamp_(min=0)
    return weights / weights.sum(dim=1, keepdim=True)


def _add_noise(batch: Tensor, deviation: Tensor, seeds: Tensor) -> Tensor:
    generator = torch.Generator(batch.device).manual_seed(int(seeds[0]))
    noise = torch.randn(batch.shape, generator=generator, device=batch.device)
    return noise.mul_(deviation.to(batch.device).view(-1, 1, 1, 1)).add_(batch).clamp_(0, 255)


def _compress(batch: Tensor, qualities: Tensor) -> Tensor:
    """JPEG by Pillow, in threads: no library compresses a batch with a quality for each picture."""
    pixels = batch.round().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def compress_one(picture: np.ndarray, quality: int) -> np.ndarray:
        return np.asarray(compress(Image.fromarray(picture), quality))

    with ThreadPoolExecutor(min(joblib.cpu_count(), len(pixels))) as threads:
        compressed = np.stack([*threads.map(compress_one, pixels, qualities.tolist())])
    return torch.from_numpy(compressed).to(batch.device).permute(0, 3, 1, 2).float()


def _cut_out(batch: Tensor, cutout: Tensor) -> Tensor:
    height, width = batch.shape[-2:]
    places = cutout * torch.tensor([width, height, width, height], dtype=torch.float64)
    edges = places.round().to(batch.device).unsqueeze(-1)
    left, top, right, bottom = edges.unbind(1)
    across, down = (torch.arange(side, device=batch.device) for side in (width, height))
    inside = ((down >= top) & (down < bottom)).unsqueeze(2) & (
        (across >= left) & (across < right)
    ).unsqueeze(1)
    return torch.where(inside.unsqueeze(1), batch.mean(dim=(2, 3), keepdim=True), batch)


def _uniform(count: int, generator: torch.Generator, low: float, high: float) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64) * (high - low) + low


def _round(values: Tensor, step: float) -> Tensor:
    # at least one step, so that nothing is rounded to "none"
    return (values / step).round_().clamp_(min=1) * step
