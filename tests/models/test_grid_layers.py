"""The layer that heat maps are made at."""

from collections import OrderedDict
from graphlib import TopologicalSorter

import numpy as np
import pytest
import torch
from torch import nn

from deepfake_detection.models.backbones import build_backbone, build_network, list_backbones
from deepfake_detection.models.grid_layers import GridLayer, find_grid_layer

# one of each family; the others take a minute
FEW = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vit_b_32",
]  # fmt: skip
OTHERS = [name for name in list_backbones() if name not in FEW]
EVERY = [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


def build_on_meta(model):
    """A network with shapes and a graph, but no numbers: most are built in a moment."""
    try:
        with torch.device("meta"):
            network = build_network(model, transform_input=False)
    except NotImplementedError:
        # RegNet computes its widths with tensors
        network = build_network(model, transform_input=False).to("meta")
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("model", EVERY)
def test_every_path_through_the_network_passes_the_layer_and_it_is_a_grid(model):
    network = build_on_meta(model)
    crop = 299 if model == "inception_v3" else 224
    layer = find_grid_layer(network, crop, 7)
    assert 7 <= layer.grid <= 16
    kept = []
    module = network.get_submodule(layer.name)
    # the step is taken now: what follows in place makes the tensor another step's
    module.register_forward_hook(lambda _, __, output: kept.append((output, output.grad_fn)))
    verdict = network(torch.zeros(1, 3, crop, crop, device="meta", requires_grad=True))[:, 0]
    ((output, step),) = kept
    assert step in steps_that_all_paths_share(verdict.grad_fn)
    grid = layer.to_grid(output)
    assert grid.shape[2:] == (layer.grid, layer.grid)
    assert layer.from_grid(grid, output).shape == output.shape


# a block before the last one where a token gives the verdict, the last one where the mean does
@pytest.mark.parametrize(
    ("name", "crop", "smallest", "expected"),
    [
        ("test_vit", 64, 2, GridLayer("blocks.4", "class token and places", 4, 1)),
        ("test_vit2", 64, 2, GridLayer("norm", "class token and places", 4, 1)),
        (
            "vit_small_patch14_reg4_dinov2", 56, 2,
            GridLayer("blocks.10", "class token and places", 4, 5),
        ),
        ("deit_tiny_distilled_patch16_224", 64, 2,
         GridLayer("blocks.10", "class token and places", 4, 2)),
        ("mixer_s32_224", 224, 2, GridLayer("norm", "class token and places", 7, 0)),
        ("swin_tiny_patch4_window7_224", 112, 7, GridLayer("layers.2", "channels last", 7)),
        ("resnet10t", 64, 4, GridLayer("layer3", "channels first", 4)),
        ("test_efficientnet", 64, 2, GridLayer("bn2", "channels first", 2)),
    ],
)  # fmt: skip
def test_layers_of_timm_are_found_in_the_graph_and_heat_lies_on_them(
    name, crop, smallest, expected
):
    torch.manual_seed(0)
    network, _ = build_backbone(f"timm/{name}", {}, transform_input=False, crop=crop)
    network.eval().requires_grad_(False)
    layer = find_grid_layer(network, crop, smallest)
    assert layer == expected
    kept = []
    network.get_submodule(layer.name).register_forward_hook(lambda *given: kept.append(given[2]))
    verdict = network(torch.rand(1, 3, crop, crop, requires_grad=True))[:, 0]
    (gradient,) = torch.autograd.grad(verdict, kept[0])
    assert layer.to_grid(gradient).abs().sum() > 0 or not network.head.weight.any()
    assert not [hook for each in network.modules() for hook in each._forward_hooks][1:]


class _Branches(nn.Module):
    """Two paths side by side, as crossvit has them: no layer sees all."""

    def __init__(self):
        super().__init__()
        self.left, self.right = (nn.Conv2d(3, 4, 4, stride=4) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def get_classifier(self):
        return self.head

    def forward(self, pictures):
        grids = [self.left(pictures), self.right(pictures)]
        return self.head(torch.cat([each.mean(dim=(2, 3)) for each in grids], dim=1))


def test_a_network_of_timm_with_branches_alone_has_no_layer():
    network = _Branches().eval().requires_grad_(False)
    with pytest.raises(ValueError, match=r"no layer of _Branches.*32×32"):
        find_grid_layer(network, 32, 2)


def steps_that_all_paths_share(last):
    """Steps of autograd's graph that every path from the picture to the last one passes.

    In an order in which each step follows those it needs, such a step is one that no connection
    jumps over.
    """
    graph = {}
    waiting = [last]
    while waiting:
        step = waiting.pop()
        if step not in graph:
            graph[step] = [need for need, _ in step.next_functions if need is not None]
            waiting += graph[step]
    place = {step: number for number, step in enumerate(TopologicalSorter(graph).static_order())}
    jumps = [0] * (len(graph) + 1)
    for step, needs in graph.items():
        for need in needs:
            jumps[place[need] + 1] += 1
            jumps[place[step]] -= 1
    over = np.cumsum(jumps)
    return {step for step in graph if over[place[step]] == 0}


def make_pyramid():
    """Grids of 16, 8, 4 and 2 under `features`, as most networks have it."""
    halves = [nn.Conv2d(4, 4, 3, stride=2, padding=1) for _ in range(3)]
    features = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *halves)
    ends = {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "head": nn.Linear(4, 2)}
    return nn.Sequential(OrderedDict({"features": features} | ends)).eval()


@pytest.mark.parametrize(
    ("smallest", "name", "grid"),
    [(2, "3", 2), (3, "2", 4), (4, "2", 4), (7, "1", 8), (99, "0", 16)],
)
def test_it_is_the_last_whose_grid_is_fine_enough_or_of_the_finest(smallest, name, grid):
    network = make_pyramid()
    expected = GridLayer(f"features.{name}", "channels first", grid)
    assert find_grid_layer(network, 16, smallest) == expected
    assert not [hook for layer in network.modules() for hook in layer._forward_hooks]


def test_a_grid_lies_row_by_row_and_goes_back_to_where_it_was():
    rows = torch.rand(2, 3, 3, 5)
    outputs = {
        "channels first": rows.permute(0, 3, 1, 2),
        "channels last": rows,
        "class token and places": torch.cat([torch.rand(2, 1, 5), rows.flatten(1, 2)], dim=1),
    }
    for layout, output in outputs.items():
        layer = GridLayer("", layout, 3)
        grid = layer.to_grid(output)
        assert torch.equal(grid, outputs["channels first"])
        assert torch.equal(layer.from_grid(grid, output), output)


@pytest.mark.parametrize(
    ("network", "crop"), [(nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), 16), (make_pyramid(), 1)]
)
def test_no_place_kept_apart_is_an_error_that_names_the_size(network, crop):
    with pytest.raises(ValueError, match=f"{crop}×{crop}"):
        find_grid_layer(network, crop, 2)
