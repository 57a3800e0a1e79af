"""The code beside an ONNX file: the same pixels as the project's own, in one file of its own."""

import runpy

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.images.reading import read_picture


@pytest.fixture(scope="module")
def prepare(exported, tmp_path_factory):
    """Of an `OnnxDetector` of a file that lies where CenterFace's does not."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "detector.onnx").write_bytes(exported.content)
    (folder / "prepare.py").write_text(exported.prepare, encoding="utf-8")
    code = runpy.run_path(str(folder / "prepare.py"))
    return code["OnnxDetector"](folder / "detector.onnx").prepare


@settings(max_examples=60, deadline=None)
@example(3, 100, "RGB", 1)
@example(99, 2, "L", 1)
@given(
    st.integers(1, 120), st.integers(1, 120),
    st.sampled_from(["RGB", "L", "RGBA", "P", "1", "LA", "I;16"]), st.integers(1, 8),
)  # fmt: skip
def test_it_gives_the_projects_pixels_at_any_size(
    tmp_path_factory, exported, prepare,
    width, height, mode, orientation,
):  # fmt: skip
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path_factory.getbasetemp() / "picture.png"
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 250)
    else:
        picture = picture.convert(mode)
    picture.save(path, exif=exif)
    ours = crop_pixels(read_picture(path), exported.detector.preprocessing)
    theirs, boxes = prepare(path)
    assert boxes == [None]
    assert theirs.dtype == np.uint8
    assert np.array_equal(ours[None], theirs)
