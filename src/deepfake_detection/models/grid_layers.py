"""The layer of a network that heat maps are made at: its output is a grid of places."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from deepfake_detection.models.timm_networks import is_of_timm

Layout = Literal["channels first", "channels last", "class token and places"]

# By class of torchvision's networks: modules whose children run one after another ("" is the
# network itself), so that every path from input to output passes through each child; and their
# outputs' layout.
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
    """A layer whose output is a grid: its name in the network, its layout, places along a side.

    `tokens` are those before the places: class, distillation and register tokens.
    """

    name: str
    layout: Layout
    grid: int
    tokens: int = 1

    def to_grid(self, output: Tensor) -> Tensor:
        """Its output as [n, channels, grid, grid], without the class token."""
        if self.layout == "class token and places":
            return output[:, self.tokens :].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return output.permute(0, 3, 1, 2) if self.layout == "channels last" else output

    def from_grid(self, grid: Tensor, output: Tensor) -> Tensor:
        """The grid in the layout of `output`, from which the class token is taken."""
        if self.layout == "class token and places":
            places = grid.flatten(2).transpose(1, 2)
            return torch.cat([output[:, : self.tokens], places], dim=1)
        return grid.permute(0, 2, 3, 1) if self.layout == "channels last" else grid


def find_grid_layer(network: nn.Module, crop: int, smallest_grid: int) -> GridLayer:
    """Find the last layer whose output grid is at least `smallest_grid` wide.

    If there is none, the last of those with the largest grid. Grad-CAM's authors take the last
    layer with a grid. Its size depends on the crop: resnet18 has 7×7 at 224 pixels, but 2×2 at 56,
    where a heat map could name no more than a quarter of the picture.

    The network is in evaluation mode, and its parameters require no gradients. A ValueError says
    that no layer has more than one place, or none that all of the picture passes.
    """
    usable = _timm_layers(network, crop) if is_of_timm(network) else _layers(network, crop)
    finest = max((layer.grid for layer in usable), default=1)
    if finest == 1:
        raise ValueError(
            f"no layer of {type(network).__name__}, of those that all paths from the picture to "
            "the verdict pass, has a spatial output larger than 1×1 for a crop of "
            f"{crop}×{crop} pixels"
        )
    return [layer for layer in usable if layer.grid >= min(smallest_grid, finest)][-1]


def _layers(network: nn.Module, crop: int) -> list[GridLayer]:
    """The layers with a grid of a network of torchvision, in the order in which they run."""
    parents, layout = _FAMILIES.get(type(network).__name__, (("features",), "channels first"))
    found: list[GridLayer] = []

    def measure(name: str, _: nn.Module, __: Any, output: Tensor) -> None:
        places = {3: (output.shape[1] - 1) ** 0.5, 4: output.shape[2]} if output.ndim > 2 else {}
        if output.ndim in places:
            found.append(GridLayer(name, layout, round(places[output.ndim])))

    modules = [each for each in network.named_modules() if each[0].rpartition(".")[0] in parents]
    hooks = [layer.register_forward_hook(partial(measure, name)) for name, layer in modules if name]
    with torch.no_grad():
        network(_blank(network, crop))
    for hook in hooks:
        hook.remove()
    # after the last block of a vision transformer only the class token reaches the verdict
    return found[:-1] if layout == "class token and places" else found


def _blank(network: nn.Module, crop: int) -> Tensor:
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    return torch.zeros(1, 3, crop, crop, device=device)


def _timm_layers(network: nn.Module, crop: int) -> list[GridLayer]:
    """The layers with a grid that every path from the picture to the verdict passes, in order.

    They are found in autograd's graph of one picture, since each of timm's many families has names
    of its own.
    """
    seen: list[tuple[str, Tensor, Any]] = []

    def keep(name: str, _: nn.Module, __: Any, output: Any) -> None:
        # the step is taken now: what follows in place makes the tensor another step's
        if isinstance(output, Tensor) and output.ndim in (3, 4) and output.grad_fn is not None:
            seen.append((name, output, output.grad_fn))

    hooks = [
        layer.register_forward_hook(partial(keep, name))
        for name, layer in network.named_modules()
        if name
    ]
    with torch.enable_grad():
        verdict = network(_blank(network, crop).requires_grad_())[:, 1]
    for hook in hooks:
        hook.remove()
    shared = _shared_steps(verdict.grad_fn)
    tokens = int(getattr(network, "num_prefix_tokens", 0))
    runs = Counter(name for name, _, _ in seen)
    found = []
    for name, output, step in seen:
        layer = _as_grid(name, output, tokens)
        # a layer that runs twice has two outputs
        if layer and step in shared and runs[name] == 1:
            found.append((layer, output))
    if not found:
        return []
    gradients = torch.autograd.grad(verdict.sum(), [output for _, output in found])
    # after the last block that mixes them, places may not reach the verdict: the class token does
    reaching = [
        number
        for number, ((layer, _), gradient) in enumerate(zip(found, gradients, strict=True))
        if layer.to_grid(gradient).any()
    ]
    # none do where an untrained head is 0
    last = reaching[-1] if reaching else len(found) - 1
    return [layer for layer, _ in found[: last + 1]]


def _as_grid(name: str, output: Tensor, tokens: int) -> GridLayer | None:
    """The layer, if its output is a square grid: of 4 dimensions, or of 3 with tokens before."""
    _, *shape = output.shape
    if output.ndim == 4:
        if shape[1] == shape[2]:
            return GridLayer(name, "channels first", shape[1])
        return GridLayer(name, "channels last", shape[0]) if shape[0] == shape[1] else None
    for before in dict.fromkeys((tokens, 0, 1)):
        grid = isqrt(max(shape[0] - before, 0))
        if grid > 1 and grid * grid == shape[0] - before:
            return GridLayer(name, "class token and places", grid, before)
    return None


def _shared_steps(last: Any) -> set[Any]:
    """Steps of autograd's graph that every path from the picture to the last one passes.

    In an order in which each step follows those that it needs, no connection jumps over them.
    """
    graph: dict[Any, list[Any]] = {}
    waiting = [last]
    while waiting:
        step = waiting.pop()
        if step not in graph:
            graph[step] = [need for need, _ in step.next_functions if need is not None]
            waiting += graph[step]
    order = list(TopologicalSorter(graph).static_order())
    place = {step: number for number, step in enumerate(order)}
    # the earliest step that any later one needs
    earliest, shared = len(order), set()
    for step in reversed(order):
        if earliest >= place[step]:
            shared.add(step)
        earliest = min([earliest, *(place[need] for need in graph[step])])
    return shared
