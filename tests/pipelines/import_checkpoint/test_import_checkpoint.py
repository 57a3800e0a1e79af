"""Published checkpoints as detectors: the same scores, and nothing claimed of their training."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from detector_samples import build_detector
from face_samples import face_settings
from safetensors.torch import save_file
from torch import nn

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.metrics.predicting import check_split
from deepfake_detection.models.backbones import build_network, replace_heads
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.forward import Normalise, to_batch
from deepfake_detection.page.statements import describe_detector
from deepfake_detection.parameters import Backbones, ImportParameters
from deepfake_detection.pipelines.calibration.nodes import split_for_calibration
from deepfake_detection.pipelines.export.agreement import Agreement
from deepfake_detection.pipelines.export.nodes import write_model_card
from deepfake_detection.pipelines.final_training.nodes import plan_final_run
from deepfake_detection.pipelines.import_checkpoint.nodes import import_detector

MODEL = "squeezenet1_1"
CONF = Path(__file__).parents[3] / "conf/base/parameters_import_checkpoint.yml"
BACKBONES = Backbones.model_validate(
    {
        "default": {"resize": 40, "crop": 32, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
        "inception_v3": {"resize": 75, "crop": 75},
    }
)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def bring_in(path, model=MODEL, faces=None, **told):
    block = yaml.safe_load(CONF.read_text(encoding="utf-8"))["import_checkpoint"]
    parameters = ImportParameters.model_validate(block | told)
    return import_detector(path, model, BACKBONES, parameters, faces or face_settings())


def make_network(model=MODEL, classes=2):
    torch.manual_seed(3)
    network = build_network(model, transform_input=False)
    replace_heads(network, classes)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
    return network.eval()


def outputs_of(network, detector):
    """The network's own outputs of the pixels: float64, [n, outputs]."""
    size = detector.preprocessing.crop
    pixels = np.resize(PIXELS, (3, size, size, 3))
    with torch.no_grad():
        batch = Normalise(detector.preprocessing)(to_batch(pixels, "cpu"))
        return network(batch).double().numpy(), pixels


def prefixed(state, prefix):
    return {f"{prefix}{name}": value for name, value in state.items()}


WRITTEN = {
    "plain": torch.save,
    "state_dict of DataParallel": lambda state, path: torch.save(
        {"state_dict": prefixed(state, "module."), "epoch": 7, "optimizer": {"lr": 0.1}}, path
    ),
    "model of another module": lambda state, path: torch.save(
        {"model": prefixed(state, "module.model.")}, path
    ),
    "half precision": lambda state, path: torch.save(
        {name: value.half() for name, value in state.items()}, path
    ),
    "safetensors": save_file,
}


@pytest.mark.parametrize("written", WRITTEN)
def test_its_scores_are_the_softmax_of_the_network(written, tmp_path):
    network = make_network()
    path = tmp_path / ("weights.safetensors" if written == "safetensors" else "weights.pth")
    WRITTEN[written](dict(network.state_dict()), path)
    detector = bring_in(path)
    outputs, pixels = outputs_of(network, detector)
    exact = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    found = detector.probabilities(detector.logits(pixels))
    assert found == pytest.approx(exact[:, 1], abs=1e-3 if "half" in written else 1e-6)
    write_detector(detector, tmp_path / "detector.safetensors")
    read = Detector.load(tmp_path / "detector.safetensors")
    assert read.logits(pixels) == pytest.approx(detector.logits(pixels), abs=1e-6)
    assert read.card == detector.card


@pytest.mark.parametrize("outputs", [1, 2])
def test_outputs_are_ordered_as_told(outputs, tmp_path):
    network = make_network(classes=outputs)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    real_first = bring_in(tmp_path / "w.pth")
    fake_first = bring_in(tmp_path / "w.pth", class_order=["fake", "real"])
    found, pixels = outputs_of(network, real_first)
    expected = found[:, 0] if outputs == 1 else found[:, 1] - found[:, 0]
    assert real_first.logits(pixels) == pytest.approx(expected, abs=1e-5)
    assert fake_first.logits(pixels) == pytest.approx(-expected, abs=1e-5)
    assert real_first.card.settings["import_checkpoint"]["outputs"] == outputs
    assert real_first.card.run_fingerprint != fake_first.card.run_fingerprint


@pytest.mark.parametrize("model", ["resnet18", "googlenet"])
def test_a_head_of_another_name_is_found_and_said(model, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    network = make_network(model)
    network.fc = nn.Sequential(nn.Dropout(), network.fc).eval()
    state = {
        name: value for name, value in network.state_dict().items()
        # a network that was published without its auxiliary heads
        if not (name.startswith("aux") and ".fc2." in name)
    }  # fmt: skip
    torch.save(state, tmp_path / "w.pth")
    detector = bring_in(tmp_path / "w.pth", model)
    outputs, pixels = outputs_of(network, detector)
    assert detector.logits(pixels) == pytest.approx(outputs[:, 1] - outputs[:, 0], abs=1e-4)
    assert "fc.1" in caplog.text
    assert ("aux1.fc2.weight" in caplog.text) == (model == "googlenet")


@pytest.mark.parametrize(
    "model",
    ["timm/test_vit.r160_in1k", "timm/test_efficientnet", "timm/deit_tiny_distilled_patch16_224"],
)
def test_networks_of_timm_are_imported_with_all_their_heads(model, tmp_path):
    network = make_network(model)
    torch.save({"model": prefixed(network.state_dict(), "module.")}, tmp_path / "w.pth")
    detector = bring_in(tmp_path / "w.pth", model)
    outputs, pixels = outputs_of(network, detector)
    assert detector.logits(pixels) == pytest.approx(outputs[:, 1] - outputs[:, 0], abs=1e-5)
    turned = bring_in(tmp_path / "w.pth", model, class_order=["fake", "real"])
    assert turned.logits(pixels) == pytest.approx(outputs[:, 0] - outputs[:, 1], abs=1e-5)
    state = network.state_dict()
    del state[next(name for name in reversed(state) if name.endswith(".weight"))]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(UserError, match=r"cut\.pth"):
        bring_in(tmp_path / "cut.pth", model)


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap_was_sprung"),))


def _spoiled():
    state = make_network().state_dict()
    next(iter(state.values()))[0] = float("nan")
    return state


REFUSED = {
    "code": (lambda: {"weight": _Trap()}, "no readable file"),
    "another network": (lambda: make_network("shufflenet_v2_x0_5").state_dict(), MODEL),
    "a thousand classes": (lambda: make_network(classes=1000).state_dict(), "1000 classes"),
    "three classes": (lambda: make_network(classes=3).state_dict(), "3 classes"),
    "no head": (
        lambda: {name: value for name, value in make_network().state_dict().items()
                 if "classifier" not in name},
        "none was found",
    ),
    "two heads": (
        lambda: {name.replace("classifier.1", f"head{number}"): value for number in (1, 2)
                 for name, value in make_network().state_dict().items()},
        "head1, head2",
    ),
    "no number": (_spoiled, "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_a_detector_is_refused_in_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, reason = REFUSED[kind]
    torch.save(make(), "published.pth")
    with pytest.raises(UserError, match=reason) as caught:
        bring_in(Path("published.pth"))
    assert str(caught.value).startswith("parameter 'checkpoint': published.pth ")
    assert "\n" not in str(caught.value)
    assert not Path("trap_was_sprung").exists()


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    path = tmp_path_factory.mktemp("published") / "published.pth"
    torch.save(make_network().state_dict(), path)
    return bring_in(path, source="A paper", fakes=["FaceSwap", "Deepfakes"])


def test_the_card_claims_nothing_of_its_training(imported):
    card = imported.card
    assert card.imported_from == "A paper"
    assert card.known_fakes == ["FaceSwap", "Deepfakes"]
    assert card.describe_known_fakes() == "FaceSwap, Deepfakes (training images unknown)"
    assert (len(imported.trained_on), len(imported.validated_on)) == (0, 0)
    assert "unknown" in card.split["note"]
    assert imported.crop_recipe is None


def test_a_crop_recipe_can_be_told(tmp_path):
    torch.save(make_network().state_dict(), tmp_path / "w.pth")
    detector = bring_in(tmp_path / "w.pth", crops="face_extraction")
    assert detector.crop_recipe is not None
    assert detector.crop_recipe.crop == face_settings().crop
    assert detector.face_finder.recipe == detector.crop_recipe


def test_the_page_says_that_its_training_images_are_unknown(imported):
    first, second = describe_detector(imported)
    assert (first.tone, second.tone) == ("warning", "plain")
    assert "unknown" in first.heading
    assert "A paper" in str(first.text)
    assert "FaceSwap, Deepfakes" in str(first.text)


def test_the_exported_card_says_so_too(imported):
    card = write_model_card(imported, Agreement(4, 1e-7), FinishedScores())
    assert "The training images are unknown" in card
    assert "A paper" in card
    assert "knows no others" not in card
    assert "epoch" not in card
    assert "Split:" not in card


def test_it_has_no_split_and_no_settings_of_its_own(imported):
    with pytest.raises(UserError, match="external_evaluation"):
        check_split(imported, pd.DataFrame())
    with pytest.raises(UserError, match="how it was trained is unknown"):
        plan_final_run(imported, MODEL, None, None)


def test_only_imported_detectors_are_calibrated_on_a_set_from_elsewhere():
    with pytest.raises(UserError, match="for imported detectors"):
        split_for_calibration(pd.DataFrame(), build_detector(), None, None)
