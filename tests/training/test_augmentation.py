"""Augmentation of a batch against torchvision's functions, picture by picture."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional
from training_samples import make_training

from deepfake_detection.training.augmentation import Draws, augment, draw

draws = st.lists(
    st.tuples(st.booleans(), st.floats(-180, 180, allow_nan=False)), min_size=1, max_size=5
)


@given(draws, st.integers(8, 40), st.integers(0, 2**31))
@example([(False, 0.0), (False, 0.0)], 16, 0)
@example([(False, 10.0)], 32, 0)
def test_a_batch_is_augmented_as_torchvision_augments_each_picture(drawn, size, seed):
    generator = torch.Generator().manual_seed(seed)
    batch = torch.randint(0, 256, (len(drawn), 3, size, size), generator=generator).float()
    flips, angles = zip(*drawn, strict=True)
    ours = augment(batch, Draws.of(torch.tensor(flips), torch.tensor(angles, dtype=torch.float64)))
    for picture, flip, angle, result in zip(batch, flips, angles, ours, strict=True):
        expected = functional.horizontal_flip(picture) if flip else picture
        expected = functional.rotate(expected, angle)
        differing = ((expected - result).abs() > 1e-4).any(dim=0)
        assert not (differing & ~_between_two_pixels(size, angle)).any()


def _between_two_pixels(size, angle):
    """Where the nearest neighbour is a matter of rounding: bool, [size, size]."""
    across = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    down, radians = across.unsqueeze(-1), math.radians(angle)
    cosine, sine = math.cos(radians), math.sin(radians)
    came_from = torch.stack((cosine * across - sine * down, sine * across + cosine * down))
    came_from += (size - 1) / 2
    return ((came_from - came_from.floor() - 0.5).abs() < 1e-4).any(dim=0)


def test_neither_layout_nor_type_nor_the_rest_of_the_batch_makes_a_difference():
    batch = torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8)
    drawn = draw(6, make_training().augmentation, torch.Generator())
    whole = augment(batch.float(), drawn)
    assert torch.equal(augment(batch.to(memory_format=torch.channels_last), drawn), whole)
    for chosen in (torch.tensor([4, 1, 5]), slice(2, 4)):
        assert torch.equal(augment(batch[chosen], drawn[chosen]), whole[chosen])


@pytest.mark.parametrize("moved", [0.0, 0.3, 1.0])
def test_pictures_that_are_not_moved_stay_as_they_are(moved):
    augmentation = make_training(
        augmentation={"flip": 0, "moved": moved, "scale": [0.8, 0.9], "shift": 0.1}
    ).augmentation
    batch = torch.rand(400, 3, 9, 9) * 255
    drawn = draw(400, augmentation, torch.Generator(), torch.Generator())
    for interpolation in ("nearest", "bilinear"):
        changed = (augment(batch, drawn, interpolation) - batch).abs().amax(dim=(1, 2, 3)) > 1e-3
        assert changed.double().mean().item() == pytest.approx(moved, abs=0.08)


@given(st.floats(0, 1), st.floats(0, 180), st.integers(0, 2**31))
def test_draws_keep_to_probability_and_range(flip, rotation, seed):
    augmentation = make_training(augmentation={"flip": flip, "rotation": rotation}).augmentation
    drawn = draw(2000, augmentation, torch.Generator().manual_seed(seed))
    assert abs(drawn.flips.float().mean().item() - flip) < 0.06
    if drawn.theta is None:
        assert rotation < 1e-300
        return
    # the angle's sine and cosine stand in the first column
    angles = torch.rad2deg(torch.atan2(drawn.theta[:, 1, 0], drawn.theta[:, 0, 0]))
    assert angles.abs().max() <= rotation * (1 + 1e-5) + 1e-12
    assert abs(angles.mean().item()) <= 0.09 * rotation + 1e-12


@given(
    st.lists(
        st.tuples(
            st.floats(-30, 30), st.floats(0.5, 2), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["nearest", "bilinear"]),
    st.integers(9, 40),
)
def test_pictures_are_moved_as_torchvision_moves_each(drawn, interpolation, size):
    batch = torch.rand(len(drawn), 3, size, size) * 255
    angles, scales, right, down = (torch.tensor(each, dtype=torch.float64)
                                   for each in zip(*drawn, strict=True))  # fmt: skip
    never, shifts = torch.zeros(len(drawn), dtype=torch.bool), torch.stack((right, down), dim=1)
    ours = augment(batch, Draws.of(never, angles, scales, shifts), interpolation)
    mode = functional.InterpolationMode(interpolation)
    for picture, (angle, scale, *shift), result in zip(batch, drawn, ours, strict=True):
        pixels = [share * size for share in shift]
        # its angles are clockwise
        expected = functional.affine(picture, -angle, pixels, scale, [0.0, 0.0], mode)
        differing = ((expected - result).abs() > 0.05).any(dim=0)
        # rounding decides between two neighbours
        assert differing.float().mean() <= (0.1 if interpolation == "nearest" else 0)
