import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from picture_samples import make_sizes
from PIL import Image
from torchvision.transforms import v2

from deepfake_detection.images.preprocessing import crop_pixels, seen_box


def noise(width, height):
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
    pixels = crop_pixels(image, make_sizes(resize, crop))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(expected))


@pytest.mark.parametrize("size", [(3, 60_001), (60_001, 3), (1, 20_001), (20_001, 1)])
def test_an_extreme_strip_keeps_its_centre(size):
    across, along = np.zeros((2, max(size)), dtype=np.uint8)
    along[len(along) // 2 - 1 : len(along) // 2 + 2] = 200
    rows, columns = (along if length > 3 else across[:length] + 200 for length in size[::-1])
    grey = Image.fromarray(np.minimum.outer(rows, columns)).convert("RGB")
    pixels = crop_pixels(grey, make_sizes(64, 48))
    assert pixels.shape == (48, 48, 3)
    assert pixels[24, 24].min() == 200


@settings(max_examples=80, deadline=None)
@given(st.integers(20, 300), st.integers(20, 300), st.integers(16, 64), st.data())
@example(2000, 40, 32, None)
@example(40, 2000, 32, None)
def test_the_box_is_where_the_pixels_come_from(width, height, resize, data):
    """Red tells how far to the right a pixel was, green how far down."""
    crop = data.draw(st.integers(8, resize)) if data else resize - 8
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ramps = np.stack([across / width, down / height, 0 * across], axis=2) * 255
    pixels = crop_pixels(
        Image.fromarray(np.round(ramps).astype(np.uint8)), make_sizes(resize, crop)
    )
    left, top, right, bottom = seen_box((width, height), make_sizes(resize, crop))
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    half = 0.5 / crop
    for channel, (start, end) in enumerate([(left, right), (top, bottom)]):
        line = pixels.mean(axis=channel)[:, channel] / 255
        # the middles of the outermost pixels; smoothing and rounding move them a little
        slack = 0.75 * (end - start) / crop + 0.006
        assert abs(line[0] - (start + half * (end - start))) <= slack
        assert abs(line[-1] - (end - half * (end - start))) <= slack


@pytest.mark.skipif(sys.platform == "win32", reason="measured by resource")
def test_an_extreme_strip_takes_little_memory():
    """Resized as it is, this one would need 640 MB."""
    code = """if True:
        import resource
        from PIL import Image
        from picture_samples import make_sizes
        from deepfake_detection.images.preprocessing import crop_pixels

        strip = Image.new("RGB", (2, 80_000))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        crop_pixels(strip, make_sizes(64, 48))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.5 * before
    """
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True)
