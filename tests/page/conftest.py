"""Pages of a small detector, for all tests of them."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from detector_samples import VOUCHED_BY, make_sensitive_detector
from face_samples import beside, draw_videos, face_settings, first_frame, with_recipe
from page_server import start_page
from PIL import Image
from video_samples import write_sound, write_video

from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.detector_file import write_detector


@pytest.fixture(scope="session")
def trained_picture(photograph, encode):
    """A file that the detector was trained on."""
    return encode(photograph(99))


@pytest.fixture(scope="session")
def detector(trained_picture):
    hashes = pack_hashes([hashlib.sha256(trained_picture).hexdigest()])
    return replace(make_sensitive_detector(), trained_on=hashes)


@pytest.fixture(scope="session")
def detector_file(detector, tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "detector.safetensors"
    write_detector(detector, path)
    return path


@pytest.fixture(scope="session")
def final_file(detector, detector_file):
    """A detector trained on all images, which has no validation accuracy."""
    split = detector.card.split | {"method": "all"}
    changes = {"best_validation_accuracy": None, "split": split, "vouched_by": VOUCHED_BY}
    card = replace(detector.card, **changes)
    path = detector_file.with_name("final_detector.safetensors")
    write_detector(replace(detector, card=card), path)
    return path


@pytest.fixture(scope="session")
def page(detector_file, tmp_path_factory):
    """A page with limits small enough to be reached."""
    limits = [
        "--max-megabytes", "0.3", "--max-megapixels", "1", "--max-waiting", "2",
        "--upload-seconds", "3",
    ]  # fmt: skip
    server = start_page(tmp_path_factory.mktemp("page"), str(detector_file), *limits)
    yield server.wait()
    server.end()


@pytest.fixture(scope="session")
def people(tmp_path_factory):
    """Clips of two people, and of two people beside each other and one after the other."""
    folder = tmp_path_factory.mktemp("people")
    drawn = sorted(draw_videos(folder / "drawn", sources=2, frames=2).rglob("*.mp4"))
    one, other = (np.asarray(first_frame(clip).resize((212, 160))) for clip in drawn[:2])
    both = np.asarray(beside(one, other))
    write_video(folder / "two.mp4", 6, pictures=[both] * 6, size=(424, 160))
    write_video(folder / "halves.mov", 12, pictures=[one] * 6 + [other] * 6, size=(212, 160))
    write_video(folder / "one.webm", 3, pictures=[one] * 3, size=(212, 160), codec="libvpx-vp9")
    Image.fromarray(both).save(folder / "two.png")
    Image.new("RGB", (200, 160), "grey").save(folder / "nobody.png")
    write_sound(folder / "sound.mp4")
    write_video(folder / "long.mp4", 100, size=(64, 48))
    return folder


@pytest.fixture(scope="session")
def face_detector(people):
    """A detector that finds faces, and to which one of the two people is fake, the other real."""
    made, _ = with_recipe(face_settings())
    levels = [track.fake_probability for track in made.score_video(people / "two.mp4").tracks]
    assert len(levels) == 2
    return replace(made, card=replace(made.card, threshold=sum(levels) / 2))


@pytest.fixture(scope="session")
def face_page(face_detector, tmp_path_factory):
    """A page whose detector finds faces."""
    folder = tmp_path_factory.mktemp("face_page")
    path = folder / "detector.safetensors"
    write_detector(face_detector, path)
    limits = [
        "--max-clip-seconds",
        "5",
        "--max-clip-megabytes",
        "2",
        "--clip-decode-seconds",
        "5",
        "--decode-seconds",
        "1",
    ]
    server = start_page(folder, str(path), *limits)
    yield server.wait()
    server.end()
