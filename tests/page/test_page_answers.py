"""What the page answers to pictures, and to what is none."""

import asyncio
import base64
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from page_server import PageServer
from picture_samples import png_of_size
from PIL import Image

from deepfake_detection import Detector
from deepfake_detection.images.preprocessing import crop_pixels, seen_box
from deepfake_detection.images.reading import open_picture
from deepfake_detection.models.heat_maps import HeatMaps, heat_layer
from deepfake_detection.page.answers import Answer, Answers
from deepfake_detection.page.app import make_app
from deepfake_detection.page.limits import Limits

LIMIT = 300_000


def scored(page: PageServer, body: bytes, **headers: str) -> dict:
    status, _, answer = page.score(body, **headers)
    assert status == 200, answer
    return json.loads(answer)


def problem(answer: bytes) -> str:
    """The one sentence of an answer that says what is wrong."""
    content = json.loads(answer)
    assert list(content) == ["error"]
    assert content["error"].endswith(".")
    assert "Traceback" not in content["error"]
    assert "\n" not in content["error"]
    return content["error"]


def sixteen_bit() -> Image.Image:
    values = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    return Image.fromarray(values)


@pytest.fixture(scope="module")
def pictures(
    photograph: Callable[..., Image.Image], encode: Callable[..., bytes]
) -> dict[str, bytes]:
    turned = Image.Exif()
    turned[0x0112] = 6
    wide = photograph(1, (60, 40))
    return {
        "png": encode(photograph(2)),
        "jpeg": encode(photograph(3), "JPEG"),
        "turned": encode(wide, "JPEG", exif=turned),
        "alpha": encode(photograph(4).convert("RGBA")),
        "cmyk": encode(photograph(5).convert("CMYK"), "JPEG"),
        "16 bit": encode(sixteen_bit()),
        "animated": encode(
            photograph(6), "GIF", save_all=True, append_images=[photograph(7)], duration=40
        ),
        "webp": encode(photograph(8), "WEBP"),
        "tiff": encode(wide, "TIFF"),
    }


@pytest.mark.parametrize(
    "kind", ["png", "jpeg", "turned", "alpha", "cmyk", "16 bit", "animated", "webp", "tiff"]
)
def test_page_scores_as_the_detector_does(
    page: PageServer, detector: Detector, pictures: dict[str, bytes], kind: str
):
    answer = scored(page, pictures[kind])
    expected = asdict(detector.score(open_picture(pictures[kind])))
    for name in ("fake_probability", "threshold"):
        assert answer[name] == pytest.approx(expected[name], abs=1e-6)
    for name in ("verdict", "width", "height", "warning"):
        assert answer[name] == expected[name]
    assert f"{answer['fake_probability']:.3f}" in answer["sentence"]


def test_scores_differ_between_pictures(page: PageServer, pictures: dict[str, bytes]):
    scores = {scored(page, pictures[kind])["fake_probability"] for kind in ("png", "jpeg", "webp")}
    assert max(scores) - min(scores) > 1e-3


def test_heat_map_is_that_of_the_verdict_and_lies_where_the_network_saw(
    page: PageServer, detector: Detector, pictures: dict[str, bytes]
):
    answer = scored(page, pictures["turned"])
    picture = open_picture(pictures["turned"])
    assert answer["box"] == pytest.approx(seen_box(picture.size, detector.preprocessing))
    start, _, content = answer["heat_map"].partition(",")
    assert start == "data:image/png;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    pixels = np.stack([crop_pixels(picture, detector.preprocessing)])
    heat = HeatMaps(detector).explain(pixels)[0]
    expected = np.asarray(heat_layer(heat, (32, 32)))
    assert shown.shape == (32, 32, 4)
    assert shown[..., 3].max() > 100
    np.testing.assert_allclose(shown[..., 3].astype(int), expected[..., 3].astype(int), atol=2)


def test_page_warns_of_a_picture_that_was_trained_on(page: PageServer, trained_picture: bytes):
    assert "trained on this very file" in scored(page, trained_picture)["warning"]


def test_name_is_given_back_for_display(page: PageServer, pictures: dict[str, bytes]):
    name = "<b>Ärger\u202e\n.png"
    answer = scored(page, pictures["png"], **{"X-Picture-Name": quote(name)})
    assert answer["name"] == "<b>Ärger\\u202e\\n.png"
    assert scored(page, pictures["png"])["name"] is None
    assert scored(page, pictures["png"], **{"X-Picture-Name": "%ff%"})["name"] == "\ufffd%"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty file"),
        (b"no picture at all", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
    ids=["empty", "text", "a type that starts programs"],
)
def test_what_is_no_picture(page: PageServer, body: bytes, told: str):
    status, _, answer = page.score(body)
    assert status == 400
    assert told in problem(answer)


def test_damaged_picture(page: PageServer, pictures: dict[str, bytes]):
    status, _, answer = page.score(pictures["jpeg"][:-200])
    assert status == 400
    assert "damaged image" in problem(answer)


@pytest.mark.parametrize("size", [(1001, 1000), (60_000, 60_000)])
def test_too_many_pixels(page: PageServer, size: tuple[int, int]):
    status, _, answer = page.score(png_of_size(*size))
    assert status == 413
    assert "1 megapixels" in problem(answer)


@pytest.mark.parametrize("chunked", [False, True])
def test_too_many_bytes(page: PageServer, chunked: bool):
    body = iter([b"x" * 1000] * (LIMIT // 1000 + 1)) if chunked else b"x" * (LIMIT + 1)
    status, _, answer = page.score(body)
    assert status == 413
    assert "0.3 MB" in problem(answer)


def test_picture_in_chunks(page: PageServer, pictures: dict[str, bytes]):
    body = pictures["png"]
    whole = scored(page, body)
    assert scored(page, iter([body[:100], body[100:]])) == whole


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "text/plain"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_other_bodies_than_a_picture(page: PageServer, headers: dict[str, str]):
    status, _, answer = page.score(b"x", **headers)
    assert status == 415
    problem(answer)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_no_body_makes_it_fail(page: PageServer, pictures: dict[str, bytes], data: st.DataObject):
    body = bytearray(data.draw(st.sampled_from([*pictures.values(), b""])))
    for _ in range(data.draw(st.integers(0, 5))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    status, _, answer = page.score(bytes(body))
    assert status in {200, 400, 413}
    if status != 200:
        problem(answer)


def test_nothing_is_written_and_no_name_is_told(page: PageServer, pictures: dict[str, bytes]):
    # what is loaded late is loaded
    scored(page, pictures["png"])
    before = page.complaints()
    for body in pictures.values():
        scored(page, body, **{"X-Picture-Name": "secret.png"})
    page.score(b"no picture", **{"X-Picture-Name": "secret.png"})
    assert page.complaints() == before
    assert list(page.folder.iterdir()) == []


def test_card(page: PageServer, detector: Detector):
    status, headers, answer = page.ask("GET", "/detector")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(answer) == detector.describe()


@pytest.mark.parametrize(("method", "path"), [("GET", "/other"), ("GET", "/score"), ("HEAD", "/x")])
def test_other_addresses(page: PageServer, method: str, path: str):
    status, _, answer = page.ask(method, path)
    assert status == (405 if path == "/score" else 404)
    assert method == "HEAD" or problem(answer)


def test_failure_of_the_program_is_logged_here_and_not_told_there(
    detector: Detector, caplog: pytest.LogCaptureFixture
):
    class Failing(Answers):
        def __call__(self, content: bytes) -> Answer:
            raise RuntimeError(f"a secret of the program at {content!r}")

    limits = Limits(max_bytes=9, max_pixels=9, max_waiting=1, upload_seconds=9)
    app = make_app(detector, Failing(detector, "cpu", 9), limits, 80)
    headers = [(b"host", b"localhost"), (b"x-deepfake-page", b"1")]
    scope = {"type": "http", "method": "POST", "path": "/score", "headers": headers}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    with pytest.raises(RuntimeError):
        asyncio.run(app(scope, receive, send))
    start, body = sent
    assert start["status"] == 500
    assert (b"x-content-type-options", b"nosniff") in start["headers"]
    assert "secret" not in problem(body["body"])
    assert "a secret of the program" in caplog.text
