"""The layer that heat maps are made at."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.regnet import BlockParams

from deepfake_detection.models.backbones import list_backbones
from deepfake_detection.models.heat_maps import GridLayer, find_grid_layer

# One of each family; the others take a minute
FEW = {
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32",
}  # fmt: skip
EVERY = [
    pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in list_backbones()
]


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks have shapes and a graph, but no numbers: even the largest is built in a moment."""
    build = BlockParams.from_init_params

    def with_numbers(*args: Any, **kwargs: Any) -> BlockParams:
        # RegNet computes its widths with tensors
        with torch.device("cpu"):
            return build(*args, **kwargs)

    monkeypatch.setattr(BlockParams, "from_init_params", with_numbers)
    with torch.device("meta"):
        yield


@pytest.mark.parametrize("model", EVERY)
@pytest.mark.usefixtures("on_meta")
def test_every_path_through_the_network_passes_the_layer_and_it_is_a_grid(model: str):
    options = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
    network = torchvision.models.get_model(model, weights=None, **options)
    network.eval().requires_grad_(False)
    crop = 299 if model == "inception_v3" else 224
    layer = find_grid_layer(network, crop, 7)
    assert 7 <= layer.grid <= 16
    kept: list[tuple[Tensor, Any]] = []
    module = network.get_submodule(layer.name)
    # the step is taken now: what follows in place makes the tensor another step's
    module.register_forward_hook(lambda _, __, output: kept.append((output, output.grad_fn)))
    verdict = network(torch.zeros(1, 3, crop, crop).requires_grad_())[:, 0]
    ((output, step),) = kept
    assert step in steps_that_all_paths_share(verdict)
    grid = layer.to_grid(output)
    assert grid.shape[2:] == (layer.grid, layer.grid)
    assert layer.from_grid(grid, output).shape == output.shape


def steps_that_all_paths_share(verdict: Tensor) -> set[Any]:
    """Steps of autograd's graph that every path from the picture to the verdict passes.

    In an order in which each step follows those it needs, such a step is one that no connection
    jumps over.
    """
    order: dict[Any, int] = {}
    # depth first, without recursion: graphs are thousands of steps deep
    waiting: list[tuple[Any, bool]] = [(verdict.grad_fn, False)]
    while waiting:
        step, ready = waiting.pop()
        if step in order:
            continue
        if ready:
            order[step] = len(order)
        else:
            waiting += [(step, True), *((need, False) for need in needs(step))]
    jumps = [0] * (len(order) + 1)
    for step, place in order.items():
        for need in needs(step):
            jumps[order[need] + 1] += 1
            jumps[place] -= 1
    shared, connections = set(), 0
    for step, place in order.items():
        connections += jumps[place]
        if connections == 0:
            shared.add(step)
    return shared


def needs(step: Any) -> list[Any]:
    return [need for need, _ in step.next_functions if need is not None]


class Pyramid(nn.Module):
    """Grids of 16, 8, 4 and 2 under `features`, as most networks have it."""

    def __init__(self) -> None:
        super().__init__()
        halves = [nn.Conv2d(4, 4, 3, stride=2, padding=1) for _ in range(3)]
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *halves)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x).mean((2, 3))[:, :2]


@pytest.mark.parametrize(
    ("smallest", "name", "grid"),
    [(2, "3", 2), (3, "2", 4), (4, "2", 4), (7, "1", 8), (99, "0", 16)],
)
def test_it_is_the_last_whose_grid_is_fine_enough_or_of_the_finest(smallest, name, grid):
    network = Pyramid().eval()
    expected = GridLayer(f"features.{name}", "channels first", grid)
    assert find_grid_layer(network, 16, smallest) == expected
    assert not [hook for layer in network.modules() for hook in layer._forward_hooks]


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("channels first", (2, 5, 3, 3)),
        ("channels last", (2, 3, 3, 5)),
        ("class token and places", (2, 10, 5)),
    ],
)
def test_a_grid_goes_back_to_where_it_was(layout, shape):
    layer, output = GridLayer("", layout, 3), torch.rand(shape)
    grid = layer.to_grid(output)
    assert grid.shape == (2, 5, 3, 3)
    assert torch.equal(layer.from_grid(grid, output), output)


def test_places_lie_row_by_row():
    tokens = torch.arange(10.0).view(1, 10, 1)
    grid = GridLayer("", "class token and places", 3).to_grid(tokens)
    assert torch.equal(grid[0, 0], torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]))


@pytest.mark.parametrize(
    "network", [nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), Pyramid().eval()]
)
def test_no_place_kept_apart_is_an_error_that_names_the_size(network):
    crop = 16 if isinstance(network, nn.Sequential) else 1
    with pytest.raises(ValueError, match=f"{crop}×{crop}"):
        find_grid_layer(network, crop, 2)
