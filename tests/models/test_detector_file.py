"""The detector file: what goes in comes out, and nothing else is taken for one."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from detector_samples import HASHES, build_detector, change_card
from PIL import Image
from safetensors.torch import save_file

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import unpack_hashes
from deepfake_detection.models.detector_file import write_detector


@pytest.fixture(scope="module")
def detector():
    return build_detector()


@pytest.fixture
def path(tmp_path, detector):
    path = tmp_path / "detector.safetensors"
    write_detector(detector, path)
    return path


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_what_is_written_is_read_again_and_replaces_an_older_file(path, pixels, memory_format):
    calibration = {"fitted": ["threshold", "temperature"], "notes": ["it stops at 0.1"]}
    detector = build_detector(threshold=0.1 + 0.2, temperature=1 / 3, calibration=calibration)
    detector.network.to(memory_format=memory_format)
    write_detector(detector, path)
    assert list(path.parent.iterdir()) == [path]
    read = Detector.load(path)
    assert read.card == detector.card
    assert unpack_hashes(read.trained_on) == set(HASHES[:2])
    assert unpack_hashes(read.validated_on) == set(HASHES[2:])
    atol = 0 if memory_format == torch.contiguous_format else 1e-5
    np.testing.assert_allclose(read.logits(pixels), detector.logits(pixels), rtol=0, atol=atol)
    assert read.probabilities(np.array([0.5])) == detector.probabilities(np.array([0.5]))


def test_what_is_no_whole_detector_file_is_refused_by_name(path):
    content = path.read_bytes()
    for share in (0, 0.0001, 0.01, 0.5, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError, match=str(path)):
            Detector.load(path)
    save_file({"fc.weight": torch.zeros(2, 2)}, path)
    for no_detector in (path, path.with_name("nowhere.safetensors")):
        with pytest.raises(UserError, match=no_detector.name):
            Detector.load(no_detector)


def _rewrite(path, **changes):
    def change(card):
        return {name: value for name, value in (card | changes).items() if value != "left out"}

    change_card(path, change)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "format 99"),
        ({"threshold": "left out"}, "threshold"),
        ({"backbone": "resnet_of_tomorrow"}, "resnet_of_tomorrow"),
        ({"backbone": "resnet18"}, "weights of resnet18"),
    ],
)
def test_a_file_that_does_not_fit_says_why(path, changes, message):
    _rewrite(path, **changes)
    with pytest.raises(UserError, match=message):
        Detector.load(path)


def test_scores_do_not_depend_on_the_batch(detector, pixels):
    whole = detector.logits(pixels)
    assert np.allclose(detector.logits(pixels, batch_size=2, device="auto"), whole, atol=1e-5)
    assert np.allclose(detector.logits(pixels, [3, 0]), whole[[3, 0]], atol=1e-5)


def test_temperature_softens_probabilities():
    logits = np.array([-4.0, 0.0, 4.0])
    sharp, soft = build_detector(), build_detector(temperature=4.0)
    assert np.allclose(sharp.probabilities(logits), 1 / (1 + np.exp(-logits)))
    assert np.allclose(soft.probabilities(logits), 1 / (1 + np.exp(-logits / 4)))


def test_a_file_scores_a_picture_in_three_lines_without_kedro(path, detector):
    Image.new("RGB", (50, 50), (200, 150, 120)).save(path.with_name("picture.png"))
    program = (
        "import sys; from deepfake_detection import Detector\n"
        "print(Detector.load('detector.safetensors').score('picture.png').fake_probability)\n"
        "assert 'kedro' not in sys.modules\n"
    )
    said = subprocess.check_output([sys.executable, "-c", program], cwd=path.parent, text=True)
    expected = detector.score(path.with_name("picture.png")).fake_probability
    assert float(said) == pytest.approx(expected, abs=1e-6)


def test_older_files_and_those_of_a_later_writer_are_read(path, detector):
    sizes = {"shorter_side": [250, 350], "proportions": [0.9, 1.1]}
    split = detector.card.split | {"looks": sizes}
    _rewrite(path, calibration="left out", vouched_by="left out", split=split, colour="green")
    card = Detector.load(path).card
    assert card.calibration == card.vouched_by == {}
    assert (card.threshold, card.temperature) == (0.5, 1.0)
    assert card.split == detector.card.split | {"image_sizes": sizes}


@pytest.mark.parametrize("model", ["mnasnet0_5", "googlenet", "swin_t", "squeezenet1_1"])
def test_a_network_is_made_of_its_weights_alone(model, path):
    detector = build_detector(model)
    write_detector(detector, path)
    network, written = Detector.load(path).network, detector.network.state_dict()
    assert not any(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(each, written[name]) for name, each in network.state_dict().items())
