"""Pages of a small detector, for all tests of them."""

import hashlib
from dataclasses import replace

import pytest
from detector_samples import VOUCHED_BY, make_sensitive_detector
from page_server import start_page

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
