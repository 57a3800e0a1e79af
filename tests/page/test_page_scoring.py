"""What the page answers to images, and to other files."""

import base64
import io
import json
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from detector_samples import make_overflowing_detector
from page_server import call_app
from picture_samples import png_of_size
from PIL import Image

from deepfake_detection.images.preprocessing import crop_pixels, seen_box
from deepfake_detection.images.reading import open_picture
from deepfake_detection.models.heat_maps import HeatMaps, heat_layer
from deepfake_detection.models.scoring import TRAINED_ON_IT
from deepfake_detection.page.app import make_app
from deepfake_detection.page.decoding_process import DecodingLimits
from deepfake_detection.page.requests import Limits
from deepfake_detection.page.scoring import UploadScorer


def scored(page, body, query=""):
    status, _, answer = page.score(body, query)
    assert status == 200, answer
    return json.loads(answer)


def check_refusal(answer):
    """An error is one short text."""
    content = json.loads(answer)
    assert list(content) == ["error"]
    assert 0 < len(content["error"]) < 200
    assert "\n" not in content["error"]


@pytest.fixture(scope="module")
def pictures(photograph, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "png": encode(photograph(2).convert("RGBA")),
        "jpeg": encode(photograph(5).convert("CMYK"), "JPEG"),
        "turned": encode(photograph(1, (60, 40)), "JPEG", exif=exif),
        "animated": encode(photograph(6), "GIF", save_all=True, append_images=[photograph(7)]),
        "webp": encode(photograph(8), "WEBP"),
        "tiff": encode(photograph(1, (60, 40)), "TIFF"),
    }


@pytest.mark.parametrize("kind", ["png", "jpeg", "turned", "animated", "webp", "tiff"])
def test_page_scores_as_the_detector_does(page, detector, pictures, kind):
    body = pictures[kind]
    answer = scored(page, body)
    expected = asdict(detector.score(open_picture(body)))
    for name in ("fake_probability", "threshold"):
        assert answer[name] == pytest.approx(expected[name], abs=1e-6)
    for name in ("verdict", "width", "height", "warning"):
        assert answer[name] == expected[name]
    assert answer["kind"] == "picture"
    # nothing is sent that was not asked for
    assert answer.keys().isdisjoint({"picture", "crops", "heat_maps", "path"})


def decode(uri):
    start, _, content = uri.partition(",")
    assert start.startswith("data:image/")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


def test_crop_and_heat_map_are_of_the_scored_part(page, detector, pictures):
    answer = scored(page, pictures["turned"], "pictures=1&heat_maps=1")
    picture = open_picture(pictures["turned"])
    assert answer["seen"] == pytest.approx(seen_box(picture.size, detector.preprocessing))
    pixels = np.stack([crop_pixels(picture, detector.preprocessing)])
    np.testing.assert_array_equal(decode(*answer["crops"]), pixels[0])
    assert decode(answer["picture"]).shape == (picture.height, picture.width, 3)
    shown = decode(*answer["heat_maps"])
    expected = np.asarray(heat_layer(HeatMaps(detector).explain(pixels)[0], (32, 32)))
    assert shown.shape == (32, 32, 4)
    assert shown[..., 3].max() > 100
    np.testing.assert_allclose(shown[..., 3].astype(int), expected[..., 3].astype(int), atol=2)


def test_a_heat_map_that_is_not_finite_is_null_beside_the_verdict(encode):
    detector, decoder = make_overflowing_detector(), SimpleNamespace(open=open_picture)
    scorer = UploadScorer(detector, "cpu", decoder)
    answer = scorer(encode(Image.new("RGB", (40, 40))), heat_maps=True)
    assert answer["verdict"] == "fake"
    assert answer["heat_maps"] == [None]


def test_a_training_image_is_recognised(page, trained_picture):
    assert TRAINED_ON_IT in scored(page, trained_picture)["warning"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"no picture at all", {}, 400),
        # a type with which Pillow starts a program
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", {}, 400),
        # a damaged file, one of too many pixels, and a decompression bomb
        (png_of_size(100, 100), {}, 400),
        (png_of_size(1001, 1000), {}, 413),
        (png_of_size(60_000, 60_000), {}, 413),
        # more than 0.3 MB
        (b"x" * 300_001, {}, 413),
        # other types
        (b"x", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
        (b"x", {"Content-Type": "text/plain"}, 415),
        (b"x", {"Content-Encoding": "gzip"}, 415),
    ],
)
def test_other_files_are_refused(page, body, headers, status):
    found, _, answer = page.score(body, **headers)
    assert found == status
    check_refusal(answer)


def test_nothing_is_written_or_logged(page, pictures):
    # the first image loads what is imported late
    scored(page, pictures["png"])
    before = page.complaints()
    for body in pictures.values():
        scored(page, body)
    page.score(b"no picture")
    assert page.complaints() == before
    assert list(page.folder.iterdir()) == []


class Failing:
    finds_faces = explains = False

    def __call__(self, content, **_):
        raise RuntimeError(f"a secret of the program at {content!r}")


def test_an_error_of_the_program_is_logged_and_not_answered(detector, caplog):
    app = make_app(detector, Failing(), Limits(1, 1, 1, 9), DecodingLimits(1, 9))
    status, body = call_app(app, b"x")
    assert status == 500
    check_refusal(body)
    assert b"secret" not in body
    assert "a secret of the program" in caplog.text
