"""Distortions: what they keep, where they begin, and that they grow."""

import hashlib
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_samples import grainy_photograph, make_sizes
from PIL import Image

from deepfake_detection.images.distortions import (
    DISTORTIONS,
    Distortion,
    list_distortions,
    read_distorted,
)
from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.parameters import RobustnessParameters

SIZES = make_sizes(24, 20)
MILD_TO_STRONG = {
    "jpeg": [95, 70, 40, 10],
    "blur": [0.3, 1, 2, 4],
    "scaling": [0.9, 0.6, 0.3, 0.1],
    "noise": [2, 6, 18, 54],
    "brightness": [1.1, 1 / 1.3, 1.6, 0.3],
}
# whatever the picture, a strength of each that a user may ask for
STRENGTHS = {
    "jpeg": st.integers(1, 95),
    "blur": st.floats(0.01, 100),
    "scaling": st.floats(0.001, 0.999),
    "noise": st.floats(0.01, 255),
    "brightness": st.floats(0.01, 20),
}


def change(image, name, strength, key=""):
    """The mean absolute change of a value, in steps of 0…255."""
    distorted = np.asarray(Distortion(name, strength).apply(image, key), dtype=float)
    return float(np.abs(distorted - np.asarray(image, dtype=float)).mean())


@given(
    drawn=st.sampled_from(DISTORTIONS).flatmap(
        lambda name: st.tuples(st.just(name), STRENGTHS[name])
    ),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 9),
)
@settings(deadline=None, max_examples=60)
def test_size_and_type_stay(drawn, size, seed):
    image = grainy_photograph(seed, size)
    before = np.asarray(image).copy()
    distorted = Distortion(*drawn).apply(image, "key")
    assert (distorted.size, distorted.mode) == (image.size, "RGB")
    assert np.asarray(distorted).dtype == np.uint8
    # the picture is distorted again and again, and so must not be changed itself
    assert np.array_equal(np.asarray(image), before)


@pytest.mark.parametrize("name", DISTORTIONS)
@pytest.mark.parametrize("seed", range(3))
def test_it_changes_more_the_stronger_it_is(name, seed):
    image = grainy_photograph(seed)
    strengths = MILD_TO_STRONG[name]
    assert strengths == sorted(strengths, key=lambda each: Distortion(name, each).severity)
    # a factor of brightness beyond 1 and one below are not the same scale of values
    parts = [strengths] if name != "brightness" else [strengths[0::2], strengths[1::2]]
    for part in parts:
        changes = [change(image, name, each) for each in part]
        assert changes == sorted(changes)
        assert changes[-1] > 2 * changes[0] > 0


@given(first=st.text(max_size=8), second=st.text(max_size=8), deviation=st.floats(1, 100))
@settings(deadline=None, max_examples=30)
def test_noise_hangs_on_key_and_strength_alone(first, second, deviation):
    noise, image = Distortion("noise", deviation), grainy_photograph(0)
    one, other, again = (np.asarray(noise.apply(image, key)) for key in (first, second, first))
    assert np.array_equal(one, again)
    assert np.array_equal(one, other) == (first == second)


@pytest.mark.parametrize("deviation", [4, 16])
def test_noise_has_the_deviation_that_is_asked_for(deviation):
    grey = Image.new("RGB", (120, 120), (128, 128, 128))
    noise = np.asarray(Distortion("noise", deviation).apply(grey, "a"), dtype=float) - 128
    assert noise.mean() == pytest.approx(0, abs=deviation / 20)
    assert noise.std() == pytest.approx(deviation, rel=0.05)


def test_a_blur_has_the_deviation_that_is_asked_for():
    point = Image.new("RGB", (61, 61))
    point.putpixel((30, 30), (255, 255, 255))
    spread = np.asarray(Distortion("blur", 2.0).apply(point, ""), dtype=float)[:, :, 0]
    places = np.arange(61) - 30
    deviation = np.sqrt((spread.sum(axis=0) * places**2).sum() / spread.sum())
    assert deviation == pytest.approx(2, rel=0.1)


def test_they_are_listed_from_mild_to_strong_whatever_the_parameters_order():
    robustness = RobustnessParameters(
        subset="auto",
        most_images=None,
        seed=0,
        jpeg=[30, 90],
        blur=[2, 0.5],
        scaling=[],
        noise=[8],
        brightness=[0.5, 1.25, 0.75, 1.5],
    )
    assert [(each.name, each.strength) for each in list_distortions(robustness)] == [
        ("none", 0), ("jpeg", 90), ("jpeg", 30), ("blur", 0.5), ("blur", 2), ("noise", 8),
        ("brightness", 1.25), ("brightness", 0.75), ("brightness", 1.5), ("brightness", 0.5),
    ]  # fmt: skip


def test_a_file_is_distorted_at_its_own_size_upright_before_it_is_cropped(tmp_path, encode):
    image = grainy_photograph(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    content = encode(image, exif=exif)
    (tmp_path / "a.png").write_bytes(content)
    asked = [Distortion("none", 0.0), Distortion("blur", 2.0), Distortion("noise", 9.0)]
    upright = image.transpose(Image.Transpose.ROTATE_270)
    key = f"7 {hashlib.sha256(content).hexdigest()}"
    expected = [crop_pixels(each.apply(upright, key), SIZES) for each in asked]
    crop = partial(crop_pixels, preprocessing=SIZES)
    np.testing.assert_array_equal(read_distorted(tmp_path, asked, 7, crop, "a.png"), expected)


def test_processes_that_distort_do_without_pytorch():
    code = (
        "import sys, deepfake_detection.images.distortions\n"
        "assert not {'torch', 'kedro', 'sklearn'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
