"""Heat maps: how much each part of a picture contributes to a verdict, by Grad-CAM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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

# What is explained: one class, the detector's own verdict, or a class for each picture (1 fake)
Towards = Literal["fake", "real", "verdict"] | Sequence[int] | np.ndarray[Any, Any]
Heat = np.ndarray[Any, np.dtype[np.float32]]

# Why a verdict has no heat map: finite weights can be so large that gradients are not
NOT_FINITE = "the network's numbers for it are not finite"
# For callers without parameters; the pipeline takes it from `explanation.smallest_grid`
SMALLEST_GRID = 7
# Perceptually uniform, and readable with any kind of colour vision
COLOUR_MAP = "viridis"
_MOST_OPAQUE = 0.75

Layout = Literal["channels first", "channels last", "class token and places"]

# By class of the network: modules whose children run one after another ("" is the network itself),
# so that every path from input to output passes through each child; and their outputs' layout.
_FAMILIES: dict[str, tuple[tuple[str, ...], Layout]] = {
    "GoogLeNet": (("",), "channels first"),
    "Inception3": (("",), "channels first"),
    "MNASNet": (("layers",), "channels first"),
    "MaxVit": (("stem", "blocks"), "channels first"),
    "RegNet": (("", "trunk_output"), "channels first"),
    "ResNet": (("",), "channels first"),
    "ShuffleNetV2": (("",), "channels first"),
    "SwinTransformer": (("features",), "channels last"),
    "VisionTransformer": (("encoder.layers",), "class token and places"),
}


@dataclass(frozen=True)
class GridLayer:
    """A layer whose output is a grid: its name in the network, its layout, places along a side."""

    name: str
    layout: Layout
    grid: int

    def to_grid(self, output: Tensor) -> Tensor:
        """Its output as [n, channels, grid, grid], without the class token."""
        if self.layout == "class token and places":
            return output[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return output.permute(0, 3, 1, 2) if self.layout == "channels last" else output

    def from_grid(self, grid: Tensor, output: Tensor) -> Tensor:
        """The grid in the layout of `output`, from which the class token is taken."""
        if self.layout == "class token and places":
            return torch.cat([output[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)
        return grid.permute(0, 2, 3, 1) if self.layout == "channels last" else grid


def find_grid_layer(network: nn.Module, crop: int, smallest_grid: int) -> GridLayer:
    """Find the last layer whose output grid is at least `smallest_grid` wide.

    If there is none, the last of those with the largest grid. Grad-CAM's authors take the last
    layer with a grid. Its size depends on the crop: resnet18 has 7×7 at 224 pixels, but 2×2 at 56,
    where a heat map could name no more than a quarter of the picture.

    The network is in evaluation mode. A ValueError says that no layer has more than one place.
    """
    parents, layout = _FAMILIES.get(type(network).__name__, (("features",), "channels first"))
    found: list[GridLayer] = []

    def measure(name: str, _: nn.Module, __: Any, output: Tensor) -> None:
        places = {3: (output.shape[1] - 1) ** 0.5, 4: output.shape[2]} if output.ndim > 2 else {}
        if output.ndim in places:
            found.append(GridLayer(name, layout, round(places[output.ndim])))

    modules = [each for each in network.named_modules() if each[0].rpartition(".")[0] in parents]
    hooks = [layer.register_forward_hook(partial(measure, name)) for name, layer in modules if name]
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    with torch.no_grad():
        network(torch.zeros(1, 3, crop, crop, device=device))
    for hook in hooks:
        hook.remove()
    # after the last block of a vision transformer only the class token reaches the verdict
    usable = found[:-1] if layout == "class token and places" else found
    finest = max((layer.grid for layer in usable), default=1)
    if finest == 1:
        raise ValueError(
            f"no layer has a spatial output larger than 1×1 for a crop of {crop}×{crop} pixels"
        )
    return [layer for layer in usable if layer.grid >= min(smallest_grid, finest)][-1]


class HeatMaps:
    """Grad-CAM (Selvaraju et al. 2017) of a detector, at the layer that `find_grid_layer` gives.

    The layer's channels, each weighted by the mean gradient of the target with respect to it, are
    summed; negative values become 0. The target is the logit of fake minus that of real, or its
    negative. One object explains any number of pictures, one call at a time.

    The detector's network is left as it was, but for the device. `layer` is the layer of the maps.
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
