"""Which layer of a network heat maps are made at: found by one pass, for any of torchvision's.

Grad-CAM (Selvaraju et al. 2017) weighs the channels of the last layer whose output is still a grid
of places in the picture: the deepest reasons that have a place. How fine that grid is depends on
the network and on the size of its pictures: 7×7 for resnet18 at 224 pixels, but 2×2 at 56, where a
heat map could name no more than a quarter of the picture. So here it is the last layer whose grid
is not coarser than a smallest one: 7×7, as the published method has it for ResNet. In the demo,
where the place of each forgery is known, 2×2 places do not tell a forged picture from the same one
before, and those of 4×4 look much alike on all pictures; heat of 7×7 and finer moves to the
forgery (tests/end_to_end/test_demo_promises.py). The finer, the further from the verdict, and the
less one weight for each channel says.

Four conditions, which hold for convolutions and transformers, make the layer:

- All that the network makes of a picture goes through its output: it is no branch, around which
  others lead. The graph that autograd keeps tells.
- Its output has a grid: [n, c, h, h], [n, h, h, c] (Swin's blocks), or [n, places, c] with or
  without a class token in front (ViT's).
- No layer before it had a coarser one. vgg's last pooling spreads whatever it is given over 7×7.
- What it says of the places still reaches the verdict. After ViT's last block only the class
  token does.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

Layout = Literal["channels first", "channels last", "places", "class token and places"]


@dataclass(frozen=True)
class GridLayer:
    """A layer whose output is a grid of places.

    Attributes:
        name: Inside the network.
        layout: Of its output.
        grid: Places along each side of the picture.
    """

    name: str
    layout: Layout
    grid: int

    def to_grid(self, output: Tensor) -> Tensor:
        """Its output as [n, channels, grid, grid], without the class token."""
        if self.layout == "channels first":
            return output
        if self.layout == "channels last":
            return output.permute(0, 3, 1, 2)
        places = output[:, 1:] if self.layout == "class token and places" else output
        return places.transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def from_grid(self, grid: Tensor, output: Tensor) -> Tensor:
        """The grid in the layout of `output`, from which the class token is taken."""
        if self.layout == "channels first":
            return grid
        if self.layout == "channels last":
            return grid.permute(0, 2, 3, 1)
        places = grid.flatten(2).transpose(1, 2)
        if self.layout == "class token and places":
            return torch.cat([output[:, :1], places], dim=1)
        return places


@dataclass(frozen=True)
class _Output:
    """What a layer gave: the tensor, and the step of the graph that made it."""

    name: str
    tensor: Tensor
    step: Any


def find_grid_layer(
    network: nn.Module, margin: Callable[[Tensor], Tensor], crop: int, smallest_grid: int
) -> GridLayer:
    """The last layer whose grid has at least `smallest_grid` places along each side.

    Where no layer has such a fine one, as in small pictures cut into large patches: the last of
    those with the finest there is.

    Args:
        network: [n, 3, crop, crop] float32 to [n, 2]; none of its parameters asks for gradients,
            or else they count as ways around every layer.
        margin: From the network's output to what is explained, [n].
        crop: Pixels along each side.
        smallest_grid: Places along each side.

    Raises:
        ValueError: If no layer keeps any places apart.
    """
    device = next((each.device for each in network.parameters()), torch.device("cpu"))
    # noise, in which all places differ: always the same, and no other generator is touched
    noise = torch.rand(1, 3, crop, crop, generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        outputs, verdict = _pass(network, margin, noise.to(device).requires_grad_())
        layers = list(_grids(outputs, verdict, crop))
        finest = max((layer.grid for layer, _ in layers), default=1)
        if finest == 1:
            raise ValueError(f"no layer keeps places of a picture of {crop}×{crop} pixels apart")
        wanted = min(smallest_grid, finest)
        fine = [(layer, tensor) for layer, tensor in layers if layer.grid >= wanted]
        return next(
            (layer for layer, tensor in reversed(fine) if _matters(layer, tensor, verdict)),
            # a network whose verdict is the same for all pictures
            fine[-1][0],
        )


def _pass(
    network: nn.Module, margin: Callable[[Tensor], Tensor], picture: Tensor
) -> tuple[list[_Output], Tensor]:
    """Outputs of all layers that are run once, in the order in which they end, and the verdict."""
    outputs: list[_Output] = []

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                # the step is taken now: what follows in place makes the tensor another step's
                outputs.append(_Output(name, output, output.grad_fn))

        return hook

    hooks = [
        layer.register_forward_hook(keep(name)) for name, layer in network.named_modules() if name
    ]
    try:
        verdict = margin(network(picture))
    finally:
        for hook in hooks:
            hook.remove()
    times = Counter(output.name for output in outputs)
    return [output for output in outputs if times[output.name] == 1], verdict


def _grids(
    outputs: list[_Output], verdict: Tensor, crop: int
) -> Iterator[tuple[GridLayer, Tensor]]:
    """Layers that all goes through, each with the coarsest grid up to it."""
    through = _steps_that_all_goes_through(verdict)
    coarsest = crop
    for output in outputs:
        found = _read_layout(output.tensor) if output.step in through else None
        if found is None:
            continue
        layout, grid = found
        if grid <= coarsest:
            coarsest = grid
            yield GridLayer(output.name, layout, grid), output.tensor


def _read_layout(output: Tensor) -> tuple[Layout, int] | None:
    """How a square picture's places lie in an output, and how many along each side."""
    sizes = tuple(output.shape)
    if len(sizes) == 4 and sizes[2] == sizes[3]:
        return "channels first", sizes[2]
    if len(sizes) == 4 and sizes[1] == sizes[2]:
        return "channels last", sizes[1]
    if len(sizes) == 3:
        if _is_square(sizes[1] - 1):
            return "class token and places", isqrt(sizes[1] - 1)
        if _is_square(sizes[1]):
            return "places", isqrt(sizes[1])
    return None


def _is_square(places: int) -> bool:
    return places > 1 and isqrt(places) ** 2 == places


def _steps_that_all_goes_through(verdict: Tensor) -> set[Any]:
    """Steps of the graph that every way from the picture to the verdict leads through.

    In an order in which each step stands after those it needs, such a step is one that no
    connection passes over: what stands before it is needed by it, what stands after it needs it.
    """
    order: dict[Any, int] = {}
    # depth first, without recursion: graphs are thousands of steps deep
    waiting: list[tuple[Any, bool]] = [(verdict.grad_fn, False)]
    while waiting:
        step, its_needs_are_there = waiting.pop()
        if step in order:
            continue
        if its_needs_are_there:
            order[step] = len(order)
        else:
            waiting.append((step, True))
            waiting += [(need, False) for need in _needs(step)]
    passed_over = [0] * (len(order) + 1)
    for step, place in order.items():
        for need in _needs(step):
            passed_over[order[need] + 1] += 1
            passed_over[place] -= 1
    through, connections = set(), 0
    for step, place in order.items():
        connections += passed_over[place]
        if connections == 0:
            through.add(step)
    return through


def _needs(step: Any) -> list[Any]:
    return [need for need, _ in step.next_functions if need is not None]


def _matters(layer: GridLayer, output: Tensor, verdict: Tensor) -> bool:
    """Whether the verdict changes with what this output says of the places."""
    (gradient,) = torch.autograd.grad(verdict.sum(), output, retain_graph=True, allow_unused=True)
    return gradient is not None and bool(layer.to_grid(gradient).any())
