import base64
import io

import numpy as np
import pytest
from PIL import Image

from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.pipelines.reporting.cases import embed_heat, embed_picture


def opened(address):
    return Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))


def case(heat):
    return ExplainedCase("fake/1.png", "false negative", "fake", "fake/0", 0.1, heat)


@pytest.mark.parametrize("crop", [7, 56, 224, 299])
def test_heat_map_lets_the_picture_through_where_there_is_none_and_covers_where_there_is(crop):
    heat = np.zeros((crop, crop), dtype=np.float32)
    heat[: crop // 2, : crop // 2] = 1.0
    address = embed_heat(case(heat))
    assert len(address) < 4000
    pixels = np.asarray(opened(address).convert("RGBA"))
    assert pixels[0, 0, 3] == pytest.approx(0.75 * 255, abs=1)
    assert not pixels[-1, :, 3].any()
    assert not pixels[:, -1, 3].any()


def test_more_heat_is_never_less_opaque_nor_darker():
    heat = np.tile(np.linspace(0, 1, 24, dtype=np.float32), (24, 1))
    pixels = np.asarray(opened(embed_heat(case(heat))).convert("RGBA"))[0].astype(float)
    assert (np.diff(pixels[:, 3]) >= 0).all()
    assert (np.diff(pixels[:, :3] @ [0.2126, 0.7152, 0.0722]) >= -1).all()


@pytest.mark.parametrize("size", [(400, 100), (30, 40)])
def test_picture_keeps_its_shape_within_the_edge_and_is_never_enlarged(size):
    picture = Image.new("RGB", size, (200, 30, 30))
    embedded = opened(embed_picture(picture, 100))
    assert embedded.size == ((100, 25) if size == (400, 100) else size)
    assert picture.size == size
