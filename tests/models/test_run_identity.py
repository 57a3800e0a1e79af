"""The identity of a run: what changes it, what does not, and how older files keep theirs."""

import copy

import pandas as pd
import pytest
from detector_samples import build_detector, change_card
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


def _fingerprint(settings=SETTINGS, **changes):
    given = {"precision": "fp32", "weights": "imagenet"} | changes
    split = given.pop("split", "ab" * 32)
    return fingerprint_of(identify_run(settings, split, **given))


def _changed(block, name, value):
    settings = copy.deepcopy(SETTINGS)
    settings[block][name] = value
    return settings


def test_neither_the_machine_nor_calibration_nor_notes_are_part_of_it():
    names = [("training", name) for name in sorted(MACHINE_SETTINGS)]
    for block, name in [*names, ("calibration", "note"), ("data_preparation", "note")]:
        assert _fingerprint(_changed(block, name, "other")) == _fingerprint(), name


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
def test_all_that_determines_weights_is_part_of_it(changes):
    settings = changes.pop("settings", SETTINGS)
    assert _fingerprint(settings, **changes) != _fingerprint()


def test_weights_are_named_by_their_content(tmp_path):
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (describe_weights(str(tmp_path / name)) for name in "abc")
    assert a == b != c
    assert describe_weights("imagenet") == "imagenet"
    # older files hold the path alone: such a run equals no other
    settings = _changed("training", "weights", str(tmp_path / "a"))
    older = identify_older_run({"settings": settings, "split": {"fingerprint": "x"}})
    assert older["weights"] != a


@pytest.mark.parametrize("value", [0.5, False, "", None])
def test_a_later_parameter_keeps_earlier_fingerprints_at_the_value_of_old(value, monkeypatch):
    before = _fingerprint()
    known = dict(run_identity.VALUES_BEFORE)
    monkeypatch.setattr(run_identity, "VALUES_BEFORE", known | {"training.mixup": value})
    assert _fingerprint(_changed("training", "mixup", value)) == _fingerprint() == before
    assert _fingerprint(_changed("training", "mixup", ["another"])) != before
    assert complete_settings(SETTINGS)["training"]["mixup"] == value


def test_the_reference_is_identified_as_it_was_before_other_recipes_came():
    training = identify_run(SETTINGS, "ab" * 32, precision="fp32", weights="none")["training"]
    optimizer = {"name", "lr", "head_lr_multiple", "betas", "weight_decay"}
    assert training.keys() == {
        "epochs", "batch_size", "shuffle", "optimizer", "schedule", "loss", "augmentation",
        "early_stopping", "seed",
    }  # fmt: skip
    assert training["optimizer"].keys() == optimizer
    assert training["schedule"].keys() == {"name", "step_size", "gamma"}
    assert training["loss"].keys() == {"class_weights", "auxiliary_weight"}
    assert training["augmentation"].keys() == {"flip", "rotation"}


def _as_older_card(card):
    older = copy.deepcopy(card)
    del older["identity"]
    older["settings"]["training"] |= {"machines": 1, "rendezvous": None}
    older["settings"]["calibration"] = {
        "threshold": {"rule": "false_alarm_rate", "value": 0.5, "false_alarm_rate": 0.1}
    }
    return older | {"run_fingerprint": "of another kind"}


def test_a_detector_file_from_before_stays_known_or_is_named_without_its_settings(tmp_path):
    settings = SETTINGS | {"training": SETTINGS["training"] | {"weights": "none"}}
    path = tmp_path / "detector.safetensors"
    write_detector(build_detector(settings=settings, computed_on={"precision": "bf16"}), path)
    change_card(path, _as_older_card)
    read = Detector.load(path).card
    expected = identify_run(settings, "ab" * 32, precision="bf16", weights="none")
    assert read.run_fingerprint == fingerprint_of(expected) == fingerprint_of(read.identity)
    assert read.settings["calibration"]["threshold"]["rule"] == "false_positive_rate"
    assert read.settings["calibration"]["threshold"]["false_positive_rate"] == 0.1
    assert "machines" not in read.settings["training"]
    assert DetectorFile(path).read_card().run_fingerprint == read.run_fingerprint

    write_detector(build_detector(), path)
    change_card(path, _as_older_card)
    with pytest.raises(UserError, match=str(path)):
        Detector.load(path)


RUN, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("metrics", {"run_fingerprint": OTHER}),
        ("predictions", pd.DataFrame({"run_fingerprint": [RUN, OTHER]})),
        ("training_history", pd.DataFrame({"epoch": [1]})),
    ],
)
def test_results_of_another_run_are_named(name, result):
    same = pd.DataFrame({"run_fingerprint": [RUN] * 3})
    own = {"of_the_same": {"run_fingerprint": RUN}, "table": same, "empty": same[:0]}
    check_same_run(RUN, **own)
    with pytest.raises(UserError, match=f"'{name}'"):
        check_same_run(RUN, **own, **{name: result})


def test_metrics_of_another_calibration_are_named():
    metrics = {"threshold": 0.5, "temperature": 1.5}
    rule = {"source_score": {"rule": "mean_logit"}}
    # files of older versions do not name the source score
    for same in (metrics, metrics | {"calibration": {}}, metrics | {"calibration": rule}):
        check_same_calibration(same, metrics)
        check_same_calibration(same, metrics | rule)
    top = {"source_score": {"rule": "top_share", "top_share": 0.5}}
    for other in ({"threshold": 0.4}, {"temperature": 1}, {"calibration": top}):
        with pytest.raises(UserError, match="metrics"):
            check_same_calibration(metrics | other, metrics)
