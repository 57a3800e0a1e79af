"""Heat maps: how much each part of a picture contributes to a verdict, by Grad-CAM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from deepfake_detection.errors import UserError
from deepfake_detection.models.detector import Detector, Errors
from deepfake_detection.models.devices import keeping_memory, use_ieee_float32
from deepfake_detection.models.forward import FAKE, REAL, Normalise, to_batch
from deepfake_detection.models.grid_layers import find_grid_layer

# What is explained: one class, the detector's own verdict, or a class for each picture (1 fake)
Towards = Literal["fake", "real", "verdict"] | Sequence[int] | np.ndarray[Any, Any]
Heat = np.ndarray[Any, np.dtype[np.float32]]

# Why a verdict has no heat map: finite weights can be so large that gradients are not
NOT_FINITE = "the network's numbers for it are not finite"
NO_GRID = "the network has no layer that keeps places of a picture apart"
# For callers without parameters; the pipeline takes it from `explanation.smallest_grid`
SMALLEST_GRID = 7
# Perceptually uniform, and readable with any kind of colour vision
COLOUR_MAP = "viridis"
_MOST_OPAQUE = 0.75


class HeatMaps:
    """Grad-CAM (Selvaraju et al. 2017) of a detector, at the layer that `find_grid_layer` gives.

    The layer's channels, each weighted by the mean gradient of the target with respect to it, are
    summed; negative values become 0. The target is the logit of fake minus that of real, or its
    negative. One object explains any number of pictures, one call at a time.

    The detector's network is left as it was, but for the device. `layer` is the layer of the maps.
    A ValueError says that the network has none: see `find_grid_layer`.
    """

    def __init__(
        self,
        detector: Detector,
        *,
        smallest_grid: int = SMALLEST_GRID,
        device: torch.device | str = "cpu",
    ) -> None:
        self._detector = detector
        self._device = torch.device(device)
        use_ieee_float32(self._device)
        self._crop = detector.preprocessing.crop
        network = detector.network.to(self._device)
        with _evaluating(network):
            self.layer = find_grid_layer(network, self._crop, smallest_grid)

    def explain(
        self,
        pixels: np.ndarray[Any, np.dtype[np.uint8]],
        towards: Towards = "verdict",
        *,
        batch_size: int = 16,
        errors: Errors = "raise",
    ) -> Heat:
        """Heat maps of pixels, uint8 [n, crop, crop, 3], as `crop_pixels` gives them.

        `towards` is what the heat contributes to: `fake`, `real`, the detector's verdict on each
        picture (scored here in fp32), or the verdicts that are known already: [n], 1 fake.
        The maps are float32 [n, crop, crop], in [0, 1]: relative to the hottest place of the
        picture; 0 everywhere if nothing contributes. Where the network's numbers for a heat map are
        not finite, a UserError says so; with `errors="record"`, that map is NaN everywhere.
        """
        network = self._detector.network.to(self._device)
        heat = np.empty((len(pixels), self._crop, self._crop), np.float32)
        with _evaluating(network), keeping_memory(self._device):
            signs = self._signs(pixels, towards, batch_size)
            for at in range(0, len(pixels), batch_size):
                # a copy: torch warns of read-only arrays
                batch = np.array(pixels[at : at + batch_size])
                heat[at : at + batch_size] = self._explain_batch(
                    network, batch, signs[at : at + batch_size]
                )
        if errors == "raise" and np.isnan(heat).any():
            raise UserError(f"no heat map: {NOT_FINITE}")
        return heat

    def _explain_batch(
        self, network: nn.Module, pixels: np.ndarray[Any, np.dtype[np.uint8]], signs: Tensor
    ) -> Heat:
        from captum.attr import LayerGradCam

        normalise = Normalise(self._detector.preprocessing).to(self._device)
        # captum takes channels first, so the layer's grid passes through a layer of its own
        grid_alone = nn.Identity()

        def pass_through(_: nn.Module, __: Any, output: Tensor) -> Tensor:
            output = output.detach()
            # later layers may work in place, which autograd refuses on a leaf
            grid = self.layer.to_grid(output).requires_grad_().clone()
            return self.layer.from_grid(grid_alone(grid), output)

        def target(batch: Tensor) -> Tensor:
            # without detach, captum's gradients of the batch cost memory up to the layer
            logits = network(batch.detach())
            return (logits[:, FAKE] - logits[:, REAL]) * signs.to(self._device)

        hook = network.get_submodule(self.layer.name).register_forward_hook(pass_through)
        try:
            cam = LayerGradCam(target, grid_alone)
            heat = cam.attribute(normalise(to_batch(pixels, self._device)), relu_attributions=True)
        finally:
            hook.remove()
        return _scaled(heat.detach(), self._crop)

    def _signs(
        self, pixels: np.ndarray[Any, np.dtype[np.uint8]], towards: Towards, batch_size: int
    ) -> Tensor:
        """1 where fake is explained, -1 where real is, [n]."""
        if not isinstance(towards, str):
            fake = np.asarray(towards) == 1
        elif towards == "verdict":
            # the pass that explains may compute in another precision or order, and could give a
            # picture near the threshold the other sign
            logits = self._detector.logits(pixels, batch_size=batch_size, device=self._device)
            fake = self._detector.probabilities(logits) >= self._detector.card.threshold
        else:
            fake = np.full(len(pixels), towards == "fake")
        return torch.from_numpy(np.where(fake, 1.0, -1.0).astype(np.float32))


def _scaled(heat: Tensor, crop: int) -> Heat:
    """From [n, 1, grid, grid], 0 or more, to the picture's size and [0, 1]; or to NaN alone."""
    fine = interpolate(heat, (crop, crop), mode="bilinear", align_corners=False)[:, 0]
    hottest = fine.amax(dim=(1, 2), keepdim=True)
    # amax passes NaN on, so this tells of every place
    fine = torch.where(hottest.isfinite(), fine, torch.nan)
    return np.asarray((fine / torch.where(hottest > 0, hottest, 1.0)).cpu().numpy())


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Inside, the network is in evaluation mode and its parameters require no gradients."""
    modes = [(layer, layer.training) for layer in network.modules()]
    trainable = [each for each in network.parameters() if each.requires_grad]
    network.eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
        for layer, mode in modes:
            layer.training = mode


def overlay(
    picture: Image.Image, heat: Heat, box: tuple[float, float, float, float] = (0, 0, 1, 1)
) -> Image.Image:
    """A copy of an RGB picture with a heat map over it, as `heat_layer` makes it.

    `box` is left, top, right and bottom of what the heat map covers, as shares of the picture's
    width and height, as `seen_box` gives them.
    """
    width, height = picture.size
    left, top, right, bottom = (
        round(share * edge) for share, edge in zip(box, (width, height) * 2, strict=True)
    )
    layer = heat_layer(heat, (max(1, right - left), max(1, bottom - top)))
    laid = picture.copy()
    laid.paste(layer, (left, top), layer)
    return laid


def heat_layer(heat: Heat, size: tuple[int, int]) -> Image.Image:
    """A heat map, float32 [crop, crop] in [0, 1], as an RGBA picture of a size in pixels.

    It is clear where the heat is 0; the hotter, the more opaque and the brighter.
    """
    from matplotlib import colormaps

    fine = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))
    layer = Image.fromarray((colormaps[COLOUR_MAP](fine)[..., :3] * 255).astype(np.uint8))
    layer.putalpha(Image.fromarray((fine * 255 * _MOST_OPAQUE).astype(np.uint8)))
    return layer
