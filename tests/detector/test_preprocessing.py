import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from deepfake_detection.detector.preprocessing import crop_pixels
from deepfake_detection.parameters import PreprocessingParameters


def sizes(resize: int, crop: int) -> PreprocessingParameters:
    return PreprocessingParameters(resize=resize, crop=crop, mean=(0, 0, 0), std=(1, 1, 1))


def noise(width: int, height: int) -> Image.Image:
    colours = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    return Image.fromarray(colours.astype(np.uint8))


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 70), st.data())
@example(299, 299, 256, None)
@example(299, 299, 299, None)
@example(33, 50, 33, None)
def test_pixels_are_those_of_torchvision(width, height, resize, data):
    if max(width, height) > 16 * min(width, height):
        width = height
    crop = data.draw(st.integers(1, resize)) if data else resize - 32
    image = noise(width, height)
    expected = v2.Compose([v2.Resize(resize), v2.CenterCrop(crop)])(image)
    pixels = crop_pixels(image, sizes(resize, crop))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(expected))


@pytest.mark.parametrize("size", [(3, 60_000), (60_000, 3), (1, 20_000), (20_000, 1)])
def test_an_extreme_strip_takes_little_memory_and_keeps_its_centre(size):
    width, height = size
    grey = np.zeros((height, width, 3), dtype=np.uint8)
    centre = tuple(slice(length // 2 - 2, length // 2 + 3) if length > 5 else slice(None)
                   for length in (height, width))  # fmt: skip
    grey[centre] = 200
    strip = Image.fromarray(grey)
    tracemalloc.start()
    pixels = crop_pixels(strip, sizes(64, 48))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pixels.shape == (48, 48, 3)
    assert pixels[24, 24].min() > 150
    assert peak < 4e6


def test_pixels_are_the_caller_s_own(photograph):
    """An unchanged size must not hand out a view into the picture."""
    image = photograph(size=(32, 32))
    before = np.asarray(image).copy()
    pixels = crop_pixels(image, sizes(32, 32)).copy()
    pixels[:] = 0
    np.testing.assert_array_equal(np.asarray(image), before)
