"""Images in any form to scores."""

import hashlib
import math

import numpy as np
import pytest
import torch
from detector_samples import build_detector, make_sensitive_detector
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.scoring import TRAINED_ON_IT, Score

PIXELS = np.random.default_rng(1).integers(0, 256, (60, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector():
    return make_sensitive_detector()


def _as_png(pixels, folder):
    Image.fromarray(pixels).save(folder / "picture.png")
    return folder / "picture.png"


FORMS = {
    "path": _as_png,
    "text": lambda pixels, folder: str(_as_png(pixels, folder)),
    "PIL": lambda pixels, _: Image.fromarray(pixels),
    "PIL with alpha": lambda pixels, _: Image.fromarray(pixels).convert("RGBA"),
    "array": lambda pixels, _: pixels,
    "array of floats": lambda pixels, _: pixels / 255,
    "array of half floats": lambda pixels, _: (pixels / 255).astype(np.float16),
    "array of 16 bit": lambda pixels, _: pixels.astype(np.uint16) * 257,
    "strided array": lambda pixels, _: np.stack([pixels] * 2)[1, ::1],
    "tensor": lambda pixels, _: torch.from_numpy(pixels).permute(2, 0, 1),
    "tensor of floats": lambda pixels, _: torch.from_numpy(pixels).permute(2, 0, 1) / 255,
    "tensor with gradient": lambda pixels, _: torch.tensor(
        pixels.transpose(2, 0, 1) / 255, requires_grad=True
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_scores_the_same_in_every_form(detector, tmp_path, form):
    score = detector.score(FORMS[form](PIXELS, tmp_path))
    assert score.logit == pytest.approx(detector.score(Image.fromarray(PIXELS)).logit, abs=1e-6)
    assert (score.width, score.height, score.error) == (48, 60, None)
    assert 0 < score.fake_probability < 1
    assert score.verdict == ("fake" if score.fake_probability >= score.threshold else "real")
    assert (score.path is not None) == (form in {"path", "text"})


@settings(max_examples=20, deadline=None)
@given(st.integers(8, 80), st.integers(8, 80), st.sampled_from(["L", "RGB"]), st.integers(0, 99))
def test_png_array_and_picture_agree_at_any_size(detector, width, height, mode, seed):
    shape = (height, width) if mode == "L" else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    channels_first = torch.from_numpy(pixels if mode == "RGB" else pixels[:, :, None])
    scores = detector.score(
        [pixels, Image.fromarray(pixels), channels_first.permute(2, 0, 1).contiguous()]
    )
    assert np.ptp([score.logit for score in scores]) < 1e-5


def test_many_are_scored_in_order_whatever_the_batch(detector, tmp_path):
    many = np.random.default_rng(2).integers(0, 256, (7, 40, 40, 3), dtype=np.uint8)
    paths = [tmp_path / f"{at}.png" for at in range(7)]
    for path, pixels in zip(paths, many, strict=True):
        Image.fromarray(pixels).save(path)
    whole = [score.logit for score in detector.score(many)]
    assert len(set(whole)) == 7
    tensors = torch.from_numpy(many).permute(0, 3, 1, 2)
    for images, batch_size in ((list(many), 1), (list(many), 3), (tensors, 64), (paths, 2)):
        scores = detector.score(images, batch_size=batch_size)
        assert np.allclose([score.logit for score in scores], whole, atol=1e-5)
    assert [score.path for score in scores] == [str(path) for path in paths]
    assert detector.score([]) == []


def test_flip_averages_a_picture_and_its_mirror_image(detector):
    image = Image.fromarray(PIXELS)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    apart = [detector.score(each).logit for each in (image, mirrored)]
    assert abs(apart[0] - apart[1]) > 1e-3
    assert detector.score(image, flip=True).logit == pytest.approx(np.mean(apart), abs=1e-5)


def test_an_unreadable_image_is_an_error_without_a_score(detector, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG broken")
    good = Image.fromarray(PIXELS)
    for image in (tmp_path / "broken.png", tmp_path / "missing.png", tmp_path, "nul\0byte.png"):
        with pytest.raises(UserError) as error:
            detector.score([good, image])
        assert str(error.value).startswith(f"{image}: ")
        first, bad, last = detector.score([good, image, good], errors="record")
        assert math.isnan(bad.fake_probability)
        assert math.isnan(bad.logit)
        assert bad.verdict is None
        assert bad.error
        assert first.logit == last.logit


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (17, TypeError, "not int"),
        ([17], TypeError, "not int"),
        (np.zeros((4, 4, 3), np.int32), TypeError, "not int32"),
        (np.zeros((4, 4, 3)) - 1, ValueError, r"-1…-1"),
        (np.full((4, 4, 3), np.nan), ValueError, r"nan…nan"),
        (np.zeros((3, 40, 40), np.uint8), ValueError, r"\[height, width, channels\]"),
        (torch.zeros(40, 40, 3), ValueError, r"\[channels, height, width\]"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"\[0, 4, 3\]"),
        (np.zeros(4, np.uint8), ValueError, r"\[4\]"),
    ],
)
def test_what_is_no_picture_is_refused(detector, image, error, message):
    with pytest.raises(error, match=message):
        detector.score(image, errors="record")


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ((299, 299), []), ((280, 320), []), ((100, 100), ["100×100", "250"]),
        ((1000, 900), ["1000×900", "350"]), ((600, 300), ["2.00", "0.90 to 1.10"]),
        ((2000, 100), ["2000×100", "20.00"]),
    ],
)  # fmt: skip
def test_images_unlike_the_training_images_have_a_warning(size, named):
    sizes = {"shorter_side": [250, 350], "proportions": [0.9, 1.1]}
    detector = build_detector(
        split={"fingerprint": "ab" * 32, "method": "group", "image_sizes": sizes}
    )
    score = detector.score(Image.new("RGB", size))
    assert score.verdict is not None
    assert (score.warning is None) == (named == [])
    assert all(each in str(score.warning) for each in named)


def test_without_known_sizes_images_are_compared_with_the_crop(detector):
    assert detector.score(Image.new("RGB", (64, 64))).warning is None
    assert "12×12" in str(detector.score(Image.new("RGB", (12, 12))).warning)


def test_a_picture_that_was_trained_on_is_told_of(tmp_path):
    path = _as_png(PIXELS, tmp_path)
    known = build_detector()
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    detector = Detector(known.network, known.card, pack_hashes([sha256]), known.validated_on)
    assert detector.score(path).warning == TRAINED_ON_IT
    assert known.score(path).warning is None


def test_files_are_taken_only_when_their_turn_comes(detector):
    images = iter([PIXELS] * 200)
    scores = detector.score_each(images, batch_size=4)
    assert isinstance(next(scores), Score)
    assert len(list(images)) >= 180


def test_more_pixels_than_allowed_are_not_decoded(detector, tmp_path):
    with pytest.raises(UserError, match=r"48×60 .*max_pixels \(100\)"):
        detector.score(_as_png(PIXELS, tmp_path), max_pixels=100)


def test_a_folder_of_versions_is_its_latest(detector, tmp_path):
    for version, epoch in (("2026-01-02T00.00.00.000Z", 2), ("2026-01-01T00.00.00.000Z", 1)):
        path = tmp_path / "d.safetensors" / version / "d.safetensors"
        write_detector(build_detector(best_epoch=epoch), path)
    assert Detector.load(tmp_path / "d.safetensors").card.best_epoch == 2
    with pytest.raises(UserError, match=str(tmp_path)):
        Detector.load(tmp_path)


def test_bf16_without_units_is_refused(detector, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Test CPU"})
    with pytest.raises(UserError, match="'precision': Test CPU"):
        detector.score(PIXELS, precision="bf16", device="cpu")
    auto = detector.score(PIXELS, precision="auto", device="cpu")
    assert auto.logit == detector.score(PIXELS, device="cpu").logit
