"""The layer that heat maps are made at."""

import pytest
import torch
from torch import Tensor, nn

from deepfake_detection.models.heat_map_layers import GridLayer, find_grid_layer

CROP = 16


def find(network: nn.Module, smallest_grid: int, crop: int = CROP) -> GridLayer:
    torch.manual_seed(0)
    network = network.eval().requires_grad_(False)
    return find_grid_layer(network, lambda logits: logits[:, 1] - logits[:, 0], crop, smallest_grid)


class Head(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


def pyramid() -> nn.Sequential:
    """Grids of 16, 8, 4 and 2."""
    torch.manual_seed(0)
    halves = [nn.Conv2d(4, 4, 3, stride=2, padding=1) for _ in range(3)]
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *halves, Head(4))


@pytest.mark.parametrize(
    ("smallest", "name", "grid"),
    [(2, "3", 2), (3, "2", 4), (4, "2", 4), (7, "1", 8), (99, "0", 16)],
)
def test_it_is_the_last_whose_grid_is_fine_enough_or_of_the_finest(smallest, name, grid) -> None:
    assert find(pyramid(), smallest) == GridLayer(name, "channels first", grid)


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Conv2d(4, 4, 1)
        self.other = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        # the branch ends last
        return torch.cat([self.other(x), self.branch(x)], 1).mean((2, 3))


def test_a_branch_around_which_others_lead_is_not_taken() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), Around(), nn.Linear(8, 2))
    assert find(network, 2).name == "0"


def test_a_residual_branch_is_not_taken_but_its_sum_is() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.branch(x)

    assert find(nn.Sequential(nn.Conv2d(3, 4, 1), Residual(), Head(4)), 2).name == "1"


def test_a_grid_spread_out_again_counts_as_coarse_as_it_was() -> None:
    spread = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(7),
        Head(4),
    )  # fmt: skip
    assert find(spread, 7) == GridLayer("0", "channels first", 8)


def test_a_layer_that_runs_twice_is_not_taken() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.again = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.again(self.again(x)).mean((2, 3))

    assert find(nn.Sequential(nn.Conv2d(3, 4, 1), Twice(), nn.Linear(4, 2)), 2).name == "0"


class Tokens(nn.Module):
    """What a vision transformer does: places and a class token, which alone counts in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(4, 4), nn.Linear(4, 4)
        self.mix = nn.Linear(17, 17)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([x.new_ones(len(x), 1, 4), x.flatten(2).transpose(1, 2)], 1)
        mixed = self.mix(self.before(tokens).transpose(1, 2)).transpose(1, 2)
        return self.after(mixed)[:, 0]


def test_places_behind_a_class_token_are_found_while_they_matter() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), Tokens(), nn.Linear(4, 2))
    # `after` has a grid too, but of its places nothing reaches the verdict
    assert find(network, 4) == GridLayer("1.before", "class token and places", 4)


@pytest.mark.parametrize(
    ("layout", "shape"),
    [
        ("channels first", (2, 5, 3, 3)),
        ("channels last", (2, 3, 3, 5)),
        ("places", (2, 9, 5)),
        ("class token and places", (2, 10, 5)),
    ],
)
def test_a_grid_goes_back_to_where_it_was(layout, shape) -> None:
    layer, output = GridLayer("", layout, 3), torch.rand(shape)
    grid = layer.to_grid(output)
    assert grid.shape == (2, 5, 3, 3)
    assert torch.equal(layer.from_grid(grid, output), output)


def test_places_lie_row_by_row() -> None:
    places = torch.arange(9.0).view(1, 9, 1)
    grid = GridLayer("", "places", 3).to_grid(places)
    assert torch.equal(grid[0, 0], torch.tensor([[0.0, 1, 2], [3, 4, 5], [6, 7, 8]]))


def test_no_place_kept_apart_is_said() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * CROP * CROP, 2))
    with pytest.raises(ValueError, match="no layer keeps places of a picture of 16×16 pixels"):
        find(network, 2)
