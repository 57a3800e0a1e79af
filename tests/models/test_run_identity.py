"""The identity of a run: what changes it, what does not, and how older files keep theirs."""

import copy
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from detector_samples import build_detector
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training_samples import make_training

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.metrics.caveats import check_same_calibration, check_same_run
from deepfake_detection.models import run_identity
from deepfake_detection.models.detector_file import DetectorFile, write_detector
from deepfake_detection.models.run_identity import (
    MACHINE_SETTINGS,
    complete_settings,
    describe_weights,
    fingerprint_of,
    identify_older_run,
    identify_run,
)

SETTINGS = {
    "model": "resnet18",
    "preprocessing": {"resize": 72, "crop": 56, "mean": [0.5] * 3, "std": [0.2] * 3},
    "data_preparation": {"note": "a"},
    "training": make_training().model_dump(mode="json"),
    "calibration": {"threshold": {"rule": "fixed"}},
}


def _fingerprint(settings: dict[str, Any] = SETTINGS, **changes: Any) -> str:
    given = {"precision": "fp32", "weights": "imagenet"} | changes
    split = given.pop("split", "ab" * 32)
    return fingerprint_of(identify_run(settings, split, **given))


def _changed(block: str, name: str, value: object) -> dict[str, Any]:
    settings = copy.deepcopy(SETTINGS)
    settings[block][name] = value
    return settings


@pytest.mark.parametrize("name", sorted(MACHINE_SETTINGS))
def test_what_a_machine_decides_is_not_part_of_it(name: str) -> None:
    assert _fingerprint(_changed("training", name, "other")) == _fingerprint()


@pytest.mark.parametrize("block", ["calibration", "data_preparation"])
def test_neither_calibration_nor_notes_are_part_of_it(block: str) -> None:
    assert _fingerprint(_changed(block, "note", "other")) == _fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"weights": "none"},
        {"split": "cd" * 32},
        {"settings": _changed("training", "seed", 99)},
        {"settings": _changed("training", "epochs", 99)},
        {"settings": _changed("preprocessing", "crop", 48)},
        {"settings": SETTINGS | {"model": "vgg16"}},
        {"settings": SETTINGS | {"final_training": {"epochs": 3}}},
    ],
)
def test_all_that_determines_weights_is_part_of_it(changes: dict[str, Any]) -> None:
    settings = changes.pop("settings", SETTINGS)
    assert _fingerprint(settings, **changes) != _fingerprint()


def test_weights_are_named_by_their_content(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (describe_weights(str(tmp_path / name)) for name in "abc")
    assert a == b != c
    assert describe_weights("imagenet") == "imagenet"


@pytest.mark.parametrize("value", [0.5, False, "", None])
def test_a_later_parameter_keeps_earlier_fingerprints_at_the_value_of_old(
    value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _fingerprint()
    monkeypatch.setattr(run_identity, "VALUES_BEFORE", {"training.mixup": value})
    assert _fingerprint(_changed("training", "mixup", value)) == _fingerprint() == before
    assert _fingerprint(_changed("training", "mixup", ["another"])) != before
    assert complete_settings(SETTINGS)["training"]["mixup"] == value


def _as_older_card(card: dict[str, Any]) -> dict[str, Any]:
    older = copy.deepcopy(card)
    del older["identity"]
    older["settings"]["training"] |= {"machines": 1, "rendezvous": None}
    older["settings"]["calibration"] = {
        "threshold": {"rule": "false_alarm_rate", "value": 0.5, "false_alarm_rate": 0.1}
    }
    return older | {"run_fingerprint": "of another kind"}


def test_a_detector_file_from_before_stays_known(tmp_path: Path) -> None:
    settings = SETTINGS | {"training": SETTINGS["training"] | {"weights": "none"}}
    detector = build_detector(settings=settings, computed_on={"precision": "bf16"})
    path = tmp_path / "detector.safetensors"
    write_detector(detector, path)
    with safe_open(path, framework="pt") as file:
        card = _as_older_card(json.loads(file.metadata()["deepfake_detection"]))
    save_file(load_file(path), path, {"deepfake_detection": json.dumps(card)})

    read = Detector.load(path).card
    expected = identify_run(settings, "ab" * 32, precision="bf16", weights="none")
    assert read.run_fingerprint == fingerprint_of(expected) == fingerprint_of(read.identity)
    assert read.settings["calibration"]["threshold"]["rule"] == "false_positive_rate"
    assert read.settings["calibration"]["threshold"]["false_positive_rate"] == 0.1
    assert "machines" not in read.settings["training"]
    assert DetectorFile(path).read_card().run_fingerprint == read.run_fingerprint


def test_an_older_run_from_a_local_file_equals_no_other(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"1")
    weights = str(tmp_path / "w.pth")
    card = {"settings": _changed("training", "weights", weights), "split": {"fingerprint": "x"}}
    assert identify_older_run(card)["weights"] != describe_weights(weights)


def test_an_older_file_without_its_settings_is_named(tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    write_detector(build_detector(), path)
    with safe_open(path, framework="pt") as file:
        card = _as_older_card(json.loads(file.metadata()["deepfake_detection"]))
    save_file(load_file(path), path, {"deepfake_detection": json.dumps(card)})
    with pytest.raises(UserError, match=str(path)):
        Detector.load(path)


RUN, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("results", "named"),
    [
        ({"metrics": {"run_fingerprint": OTHER}}, "metrics"),
        ({"predictions": pd.DataFrame({"run_fingerprint": [RUN, OTHER]})}, "predictions"),
        ({"training_history": pd.DataFrame({"epoch": [1]})}, "training_history"),
        (
            {"metrics": {"run_fingerprint": RUN}, "validation_logits": pd.DataFrame({"x": [1]})},
            "validation_logits",
        ),
    ],
)
def test_results_of_another_run_are_named(results: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=f"'{named}'"):
        check_same_run(RUN, **results)


def test_results_of_the_same_run_pass() -> None:
    tables = {"predictions": pd.DataFrame({"run_fingerprint": [RUN] * 3})}
    check_same_run(RUN, metrics={"run_fingerprint": RUN}, empty=tables["predictions"][:0], **tables)
    metrics = {"threshold": 0.5, "temperature": 1.5}
    check_same_calibration(0.5, 1.5, metrics)
    with pytest.raises(UserError, match="metrics"):
        check_same_calibration(0.4, 1.5, metrics)
