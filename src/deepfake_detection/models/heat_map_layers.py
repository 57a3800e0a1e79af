"""The layer of a network that heat maps are made at: a table by architecture family.

Grad-CAM (Selvaraju et al. 2017) takes the last layer whose output is a grid of places in the
picture. The size of that grid depends on the crop: resnet18 has 7×7 at 224 pixels, but 2×2 at 56,
where a heat map could name no more than a quarter of the picture. So the layer is the last one with
at least `smallest_grid` places along each side.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

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
    """The last layer with at least `smallest_grid` places a side, or the last with the most.

    The network takes [n, 3, crop, crop] float32 and is in evaluation mode. A ValueError says that
    none of its layers has more than one place.
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
        raise ValueError(f"no layer keeps places of a picture of {crop}×{crop} pixels apart")
    return [layer for layer in usable if layer.grid >= min(smallest_grid, finest)][-1]
