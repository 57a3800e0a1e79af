"""Changes of pixels against other libraries' functions, picture by picture, for equal draws."""

import cmath
import colorsys
import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import functional
from training_samples import make_training

from deepfake_detection.images.distortions import Distortion
from deepfake_detection.training.pixel_changes import (
    PixelDraws,
    change_colours,
    change_pixels,
    change_sharpness,
    colour_matrices,
)


def _pictures(count, size=24, seed=0):
    """Neither dark nor bright, so that nothing is clipped; with structure at all scales."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(count, 3, size, size, generator=generator)
    ramp = torch.linspace(0, 1, size).expand(count, 3, size, size)
    return 90 + 40 * noise + 30 * ramp


def _apply(batch, **changes):
    """The pictures with these draws; the others change nothing."""
    count = len(batch)
    zero = torch.zeros(count, dtype=torch.float64)
    nothing = PixelDraws(
        colour=torch.eye(3, dtype=torch.float64).repeat(count, 1, 1), contrast=zero + 1, sigma=zero,
        factors=torch.ones(count, 2, dtype=torch.float64), deviation=zero.float(),
        qualities=torch.zeros(count, 2, dtype=torch.int64),
        cutout=torch.zeros(count, 4, dtype=torch.float64), seeds=zero.long(),
    )  # fmt: skip
    return change_pixels(batch.clone(), dataclasses.replace(nothing, **changes))


factors = st.floats(0.8, 1.2)


@given(st.lists(st.tuples(factors, factors, factors, st.booleans()), min_size=1, max_size=4))
def test_colours_change_as_torchvision_changes_them(drawn):
    batch = _pictures(len(drawn))
    brightness, contrast, saturation, grey = (
        torch.tensor(each, dtype=torch.float64) for each in zip(*drawn, strict=True)
    )
    colour = colour_matrices(brightness, saturation, torch.zeros(len(drawn)), grey.bool())
    ours = change_colours(batch.clone(), colour, contrast)
    for picture, (b, c, s, to_grey), result in zip(batch, drawn, ours, strict=True):
        expected = functional.adjust_brightness(picture / 255, b)
        expected = functional.adjust_contrast(expected, c)
        expected = functional.adjust_saturation(expected, s)
        if to_grey:
            expected = functional.rgb_to_grayscale(expected, 3)
        # torchvision's weights of grey have four digits
        assert torch.allclose(result, expected * 255, atol=0.1)


@given(st.floats(-0.5, 0.5))
def test_a_hue_turns_in_the_plane_of_i_and_q(share):
    batch = _pictures(1, size=2)
    one = torch.ones(1, dtype=torch.float64)
    colour = colour_matrices(one, one, share * one, torch.tensor([False]))
    (ours,) = change_colours(batch.clone(), colour, one)
    for before, after in zip(batch[0].flatten(1).T, ours.flatten(1).T, strict=True):
        y, i, q = colorsys.rgb_to_yiq(*before.tolist())
        turned = complex(i, q) * cmath.exp(2j * math.pi * share)
        # the standard library's matrix has other last digits
        expected = pytest.approx((y, turned.real, turned.imag), abs=0.6)
        assert colorsys.rgb_to_yiq(*after.tolist()) == expected


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 1.3, 3.0]), st.sampled_from([1.0, 0.9, 0.5, 0.3])),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_blur_and_scaling_are_torchvisions(drawn):
    batch = _pictures(len(drawn))
    sigma, factor = (torch.tensor(each, dtype=torch.float64) for each in zip(*drawn, strict=True))
    ours = _apply(batch, sigma=sigma, factors=torch.stack([factor, torch.ones_like(factor)], 1))
    for picture, (deviation, share), result in zip(batch, drawn, ours, strict=True):
        expected = picture
        if deviation:
            expected = functional.gaussian_blur(picture, [23, 23], [deviation] * 2)
        if share < 1:
            small = functional.resize(expected, [round(24 * share)] * 2, antialias=True)
            expected = functional.resize(small, [24, 24], antialias=True)
        assert torch.allclose(result, expected, atol=0.02)


@pytest.mark.parametrize(
    ("distortion", "change"),
    [
        (Distortion("jpeg", 55), {"qualities": torch.tensor([[55, 0]])}),
        (Distortion("scaling", 0.5), {"factors": torch.tensor([[0.5, 1.0]]).double()}),
        (Distortion("brightness", 0.75), {"colour": 0.75 * torch.eye(3).double()[None]}),
    ],
)
def test_a_change_is_the_distortion_that_robustness_tests(distortion, change):
    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    batch = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    expected = np.asarray(distortion.apply(Image.fromarray(picture), "key")).astype(float)
    (ours,) = _apply(batch, **change).permute(0, 2, 3, 1).numpy()
    # Pillow rounds after each step
    assert np.abs(ours - expected).max() <= (0 if distortion.name == "jpeg" else 2)


def test_compression_and_scaling_twice_are_done_one_after_the_other():
    batch = _pictures(2)
    factors = torch.tensor([[0.5, 0.7], [0.5, 1.0]]).double()
    qualities = torch.tensor([[50, 80], [50, 0]])
    twice, _ = _apply(batch, factors=factors, qualities=qualities)
    first = _apply(batch[:1], factors=factors[1:], qualities=qualities[1:])
    again = {"factors": torch.tensor([[0.7, 1.0]]).double(), "qualities": torch.tensor([[80, 0]])}
    assert torch.equal(_apply(first, **again)[0], twice)


def test_noise_has_the_deviation_of_each_picture_and_comes_from_its_seed():
    batch = torch.full((3, 3, 64, 64), 128.0)
    deviation = torch.tensor([0.0, 4.0, 20.0])
    seeds = torch.tensor([5, 6, 7])
    ours = _apply(batch, deviation=deviation, seeds=seeds)
    assert (ours - batch).std(dim=(1, 2, 3)).numpy() == pytest.approx(deviation.numpy(), rel=0.05)
    assert torch.equal(ours, _apply(batch, deviation=deviation, seeds=seeds))
    assert not torch.equal(ours, _apply(batch, deviation=deviation, seeds=seeds + 1))


def test_a_cutout_has_the_mean_colour():
    batch = _pictures(2, size=20)
    ours = _apply(batch, cutout=torch.tensor([[0.1, 0.2, 0.6, 0.5], [0, 0, 0, 0]]).double())
    mean = batch[0].mean(dim=(1, 2))
    assert torch.allclose(ours[0, :, 4:10, 2:12], mean.view(3, 1, 1).expand(3, 6, 10))
    kept = torch.ones(20, 20, dtype=torch.bool)
    kept[4:10, 2:12] = False
    assert torch.equal(ours[0][:, kept], batch[0][:, kept])
    assert torch.equal(ours[1], batch[1])


def test_sharpening_adds_to_the_difference_from_a_blur():
    batch = _pictures(2)
    strength = torch.tensor([0.0, 0.5], dtype=torch.float64)
    ours = change_sharpness(batch.clone(), torch.ones_like(strength), strength)
    blurred = functional.gaussian_blur(batch[1], [23, 23], [1.0, 1.0])
    assert torch.equal(ours[0], batch[0])
    assert torch.allclose(ours[1], batch[1] + 0.5 * (batch[1] - blurred), atol=0.02)


@given(st.floats(0, 1), st.integers(0, 2**31))
def test_draws_keep_to_probabilities_and_ranges(probability, seed):
    names = ("colour", "blur", "scaling", "noise", "jpeg", "cutout")
    settings = make_training(
        augmentation={name: {"probability": probability} for name in names}
        | {"grey": probability, "twice": probability}
    ).augmentation
    draws = PixelDraws.draw(2000, settings, torch.Generator().manual_seed(seed))
    if draws is None:
        assert probability == 0
        return
    first, second = (draws.qualities[:, at] for at in (0, 1))
    chosen = [
        draws.sigma > 0, draws.factors[:, 0] < 1, draws.deviation > 0, first > 0,
        draws.cutout.any(dim=1),
    ]  # fmt: skip
    for each in chosen:
        assert each.double().mean().item() == pytest.approx(probability, abs=0.06)
    assert (second > 0).double().mean().item() == pytest.approx(probability**2, abs=0.06)
    assert not (second > 0)[first == 0].any()
    for values, (low, high) in (
        (draws.sigma[draws.sigma > 0], settings.blur.sigma),
        (draws.factors[draws.factors < 1], settings.scaling.factor),
        (draws.deviation[draws.deviation > 0], settings.noise.deviation),
        (first[first > 0], settings.jpeg.quality),
    ):
        assert ((values >= low - 1e-6) & (values <= high + 1e-6)).all()
    assert ((draws.cutout >= 0) & (draws.cutout <= 1)).all()


def test_a_probability_of_one_change_moves_no_other_draw():
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    both = make_training(augmentation={"blur": {"probability": 0.5}, "jpeg": {"probability": 0.5}})
    one = make_training(augmentation={"jpeg": {"probability": 0.5}})
    with_blur, without = (
        PixelDraws.draw(50, each.augmentation, generator)
        for each, generator in zip((both, one), generators, strict=True)
    )
    assert torch.equal(with_blur.qualities, without.qualities)
