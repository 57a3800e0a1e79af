"""The code beside an ONNX file: the same pixels as the project's own, without PyTorch."""

import types

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.images.reading import read_picture
from deepfake_detection.parameters import PreprocessingParameters
from deepfake_detection.pipelines.export.onnx_model import render_prepare

sizes = st.tuples(st.integers(1, 60), st.integers(0, 60)).map(
    lambda each: PreprocessingParameters(
        resize=sum(each), crop=each[0], mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)
    )
)


def _load(preprocessing):
    module = types.ModuleType("prepare")
    exec(render_prepare(preprocessing), module.__dict__)  # noqa: S102  (what is tested)
    return module


@settings(max_examples=60, deadline=None)
@example(3, 100, "RGB", 1, PreprocessingParameters(resize=9, crop=8, mean=(0,) * 3, std=(1,) * 3))
@example(99, 2, "L", 1, PreprocessingParameters(resize=9, crop=8, mean=(0,) * 3, std=(1,) * 3))
@given(
    st.integers(1, 120), st.integers(1, 120), st.sampled_from(["RGB", "L", "RGBA", "P", "1", "LA"]),
    st.integers(1, 8), sizes,
)  # fmt: skip
def test_it_gives_the_projects_pixels_at_any_size(
    tmp_path_factory,
    width, height, mode, orientation, preprocessing,
):  # fmt: skip
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path_factory.getbasetemp() / "picture.png"
    Image.fromarray(pixels).convert(mode).save(path, exif=exif)
    ours = crop_pixels(read_picture(path), preprocessing)
    theirs = _load(preprocessing).prepare(path)
    assert theirs.dtype == np.uint8
    assert theirs.shape == (preprocessing.crop, preprocessing.crop, 3)
    assert np.array_equal(ours, theirs)


def test_it_refuses_greyscale_of_more_than_8_bits(tmp_path):
    deep = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    preprocessing = PreprocessingParameters(resize=9, crop=8, mean=(0.5,) * 3, std=(1,) * 3)
    with pytest.raises(ValueError, match="8 bit"):
        _load(preprocessing).prepare(tmp_path / "deep.png")
