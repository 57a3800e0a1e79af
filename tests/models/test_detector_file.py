"""The detector file: what goes in comes out, and nothing else is taken for one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detector_samples import HASHES, build_detector
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import unpack_hashes
from deepfake_detection.models.detector_file import write_detector


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_detector()


@pytest.fixture
def path(tmp_path: Path, detector: Detector) -> Path:
    path = tmp_path / "detector.safetensors"
    write_detector(detector, path)
    return path


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


def test_what_is_written_is_read_again(detector: Detector, path: Path, pixels: np.ndarray) -> None:
    read = Detector.load(path)
    assert read.card == detector.card
    assert unpack_hashes(read.trained_on) == set(HASHES[:2])
    assert unpack_hashes(read.validated_on) == set(HASHES[2:])
    assert np.array_equal(read.logits(pixels), detector.logits(pixels))


def test_a_channels_last_network_can_be_written(tmp_path: Path, pixels: np.ndarray) -> None:
    detector = build_detector()
    detector.network.to(memory_format=torch.channels_last)
    write_detector(detector, tmp_path / "detector.safetensors")
    read = Detector.load(tmp_path / "detector.safetensors")
    assert np.allclose(read.logits(pixels), detector.logits(pixels), atol=1e-5)


def test_writing_replaces_an_older_file(path: Path) -> None:
    write_detector(build_detector(best_epoch=7), path)
    assert list(path.parent.iterdir()) == [path]
    assert Detector.load(path).card.best_epoch == 7


def test_the_metadata_is_plain_json(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["deepfake_detection"])
    assert card["format_version"] == 1
    assert card["class_names"] == ["real", "fake"]
    assert card["split"]["fingerprint"] == "ab" * 32


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=str(path)):
        Detector.load(path)


def test_a_missing_file_and_bare_weights_are_named(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "weights.safetensors")
    for name in ("nowhere.safetensors", "weights.safetensors"):
        with pytest.raises(UserError, match=name):
            Detector.load(tmp_path / name)


def _rewrite(path: Path, **changes: object) -> None:
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["deepfake_detection"]) | changes
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    card = {name: value for name, value in card.items() if value != "left out"}
    save_file(tensors, path, {"deepfake_detection": json.dumps(card)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format 99"),
        ({"threshold": "left out"}, "threshold"),
        ({"backbone": "resnet_of_tomorrow"}, "resnet_of_tomorrow"),
        ({"backbone": "resnet18"}, "weights of resnet18"),
    ],
)
def test_a_file_that_does_not_fit_says_why(path: Path, changes: dict, message: str) -> None:
    _rewrite(path, **changes)
    with pytest.raises(UserError, match=message):
        Detector.load(path)


def test_keys_of_a_later_writer_are_passed_over(path: Path, detector: Detector) -> None:
    _rewrite(path, colour="green")
    assert Detector.load(path).card == detector.card


def test_scores_do_not_depend_on_the_batch(detector: Detector, pixels: np.ndarray) -> None:
    whole = detector.logits(pixels)
    assert np.allclose(detector.logits(pixels, batch_size=2), whole, atol=1e-5)
    assert np.allclose(detector.logits(pixels, [3, 0]), whole[[3, 0]], atol=1e-5)


def test_temperature_softens_probabilities() -> None:
    logits = np.array([-4.0, 0.0, 4.0])
    sharp, soft = build_detector(), build_detector(temperature=4.0)
    assert np.allclose(sharp.probabilities(logits), 1 / (1 + np.exp(-logits)))
    assert np.allclose(soft.probabilities(logits), 1 / (1 + np.exp(-logits / 4)))


def test_a_copied_file_scores_a_picture_in_three_lines_without_kedro(
    path: Path, detector: Detector
) -> None:
    folder = path.parent / "elsewhere"
    folder.mkdir()
    path.rename(folder / "mine.safetensors")
    Image.new("RGB", (50, 50), (200, 150, 120)).save(folder / "picture.jpg")
    program = (
        "import sys\n"
        "from deepfake_detection import Detector\n"
        "detector = Detector.load('mine.safetensors')\n"
        "print(detector.score('picture.jpg').fake_probability)\n"
        "assert 'kedro' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    expected = detector.score(folder / "picture.jpg").fake_probability
    assert float(done.stdout) == pytest.approx(expected, abs=1e-6)


def test_threshold_and_temperature_are_kept_with_what_chose_them(tmp_path: Path) -> None:
    calibration = {"fitted": ["threshold", "temperature"], "notes": ["it stops at 0.1"]}
    detector = build_detector(threshold=0.1 + 0.2, temperature=1 / 3, calibration=calibration)
    write_detector(detector, tmp_path / "detector.safetensors")
    read = Detector.load(tmp_path / "detector.safetensors")
    assert read.card == detector.card
    assert read.probabilities(np.array([0.5])) == detector.probabilities(np.array([0.5]))


def test_older_files_are_read(path: Path, detector: Detector) -> None:
    sizes = {"shorter_side": [250, 350], "proportions": [0.9, 1.1]}
    split = detector.card.split | {"looks": sizes}
    _rewrite(path, calibration="left out", vouched_by="left out", split=split)
    card = Detector.load(path).card
    assert card.calibration == card.vouched_by == {}
    assert (card.threshold, card.temperature) == (0.5, 1.0)
    assert card.split == detector.card.split | {"image_sizes": sizes}


@pytest.mark.parametrize("model", ["mnasnet0_5", "googlenet", "swin_t", "squeezenet1_1"])
def test_a_network_is_made_of_its_weights_alone(model: str, tmp_path: Path) -> None:
    detector = build_detector(model)
    write_detector(detector, tmp_path / "detector.safetensors")
    read = Detector.load(tmp_path / "detector.safetensors")
    tensors = [*read.network.parameters(), *read.network.buffers()]
    assert not any(tensor.is_meta for tensor in tensors)
    assert all(parameter.requires_grad for parameter in read.network.parameters())
    written = detector.network.state_dict()
    assert all(torch.equal(each, written[name]) for name, each in read.network.state_dict().items())
