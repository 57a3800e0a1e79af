"""Training one run: what it refuses, and what it keeps when it has to stop."""

import hashlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from training_samples import make_calibration, make_training

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import fingerprint_of_split, unpack_hashes
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.interruptions import InterruptedWorkError
from deepfake_detection.models.detector_file import DetectorSlot
from deepfake_detection.parameters import Backbones
from deepfake_detection.pipelines.calibration.nodes import calibrate_detector
from deepfake_detection.pipelines.training.nodes import train_detector
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.train_run import hardware_of_checkpoint, train_run

BACKBONES = Backbones.model_validate(
    {"default": {"resize": 8, "crop": 8, "mean": [0.5] * 3, "std": [0.25] * 3}}
)
TRAINING = make_training(optimizer={**make_training().optimizer.model_dump(), "lr": 0.01})


@pytest.fixture
def split(tmp_path):
    """Of one-coloured pictures, fakes redder; half of them are fakes, and a third validation."""
    (tmp_path / "images").mkdir()
    split = pd.DataFrame({"label": [0, 1] * 12, "subset": ["train"] * 16 + ["validation"] * 8})
    split["class_name"] = split["label"].map({0: "real", 1: "fake"})
    split["source"] = [f"{name}/{number // 4}" for number, name in enumerate(split["class_name"])]
    split["group"] = split["source"]
    split["path"] = [f"{number}.png" for number in range(24)]
    files = [tmp_path / "images" / path for path in split["path"]]
    for number, (file, label) in enumerate(zip(files, split["label"], strict=True)):
        Image.new("RGB", (8, 8), (100 + 50 * label + number, 100, 100)).save(file)
    split["sha256"] = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return split


@pytest.fixture
def stores(split, tmp_path):
    stores = PixelCache(tmp_path / "stores")
    images = tmp_path / "images", split["path"].tolist(), split["sha256"].tolist()
    stores.build(PixelRequest(*images, BACKBONES.preprocessing("any")))
    return stores


def _summary(split):
    fingerprint = fingerprint_of_split(split)
    ratios = {"train": 0.8, "validation": 0.2, "test": 0.0}
    unused = {"ratios": ratios, "seed": 0, "note": None, "data_preparation": {}}
    return {"method": "group", "fingerprint": fingerprint} | unused


@pytest.fixture
def train(split, stores, tmp_path):
    """Train a network that a function makes, with its checkpoints in a folder."""

    def run(make, folder="states", head="fc", training=TRAINING, **summary):
        return train_run(
            RunSettings("any", BACKBONES.preprocessing("any"), training),
            split, _summary(split) | summary, stores, {}, TrainingCheckpoints(tmp_path / folder),
            DetectorSlot(tmp_path / "slot"), build=lambda *_, **__: (make(), [head]),
        )  # fmt: skip

    return run


def _make_dropping():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, 2)
    )


class _Network(nn.Module):
    """Learns as it should, until in one epoch a signal comes or, without one, infinity."""

    def __init__(self, epoch=99, number=None):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.left, self.number = epoch, number

    def train(self, mode=True):
        self.left -= mode
        if self.left == 0 and mode and self.number:
            os.kill(os.getpid(), self.number)
        return super().train(mode)

    def forward(self, pictures):
        logits = self.fc(pictures.mean(dim=(2, 3)))
        return logits if self.left > 0 or self.number else logits * torch.inf


@pytest.mark.parametrize("epoch", [4, 1])
def test_a_loss_that_is_not_finite_keeps_the_best_epoch_if_there_is_one(
    train, split, tmp_path, epoch
):
    slot = tmp_path / "slot"
    with pytest.raises(UserError, match=r"training\.optimizer\.lr") as caught:
        train(partial(_Network, epoch))
    assert f"epoch {epoch}" in str(caught.value)
    assert slot.exists() == (f"detector={slot}" in str(caught.value)) == (epoch > 1)
    assert not list((tmp_path / "states").glob("*.pt"))
    if epoch > 1:
        with safe_open(slot, framework="pt") as file:
            card = json.loads(file.metadata()["deepfake_detection"])
        assert all(value.isfinite().all() for value in load_file(slot).values())
        assert 1 <= card["best_epoch"] <= 3
        assert card["split"]["fingerprint"] == fingerprint_of_split(split)


def test_the_detector_knows_its_images_and_its_best_epoch_and_is_calibrated_on_its_logits(
    train, split, stores
):
    run = train(_Network)
    history, detector, table = run.history, run.detector, run.validation_logits
    validation = split[split["subset"] == "validation"]
    assert len(detector.trained_on) == 16
    assert unpack_hashes(detector.validated_on) == set(validation["sha256"])
    best = history["validation_accuracy"].idxmax()
    assert detector.card.best_epoch == history["epoch"][best]
    assert detector.card.best_validation_accuracy == history["validation_accuracy"][best]
    assert history.columns.tolist() == [
        "epoch", "learning_rate", "head_learning_rate", "train_loss", "train_accuracy",
        "validation_loss", "validation_accuracy", "seconds", "images_per_second", "selection",
        "run_fingerprint",
    ]  # fmt: skip
    for each in (history, table):
        assert set(each["run_fingerprint"]) == {detector.card.run_fingerprint}

    # in the order of the split
    assert table["path"].tolist() == validation["path"].tolist()
    assert table["label"].tolist() == validation["label"].tolist()
    pixels = stores.open(split["sha256"].tolist(), detector.preprocessing)
    logits = detector.logits(pixels.array, pixels.rows(validation["sha256"].tolist()))
    np.testing.assert_allclose(table["logit"], logits, rtol=1e-5)
    fakes = validation["label"].to_numpy() == 1
    assert ((logits > 0) == fakes).mean() == detector.card.best_validation_accuracy

    plain = calibrate_detector(detector, table, make_calibration())
    assert (plain.card.threshold, plain.card.temperature) == (0.5, 1.0)
    verdict = plain.card.calibration.pop("verdict")
    assert verdict == {"error_rate": None, "unsure": None, "unlike_from": None}
    rule = {"rule": "mean_logit"}
    assert plain.card.calibration == {"fitted": [], "notes": [], "source_score": rule}
    # of eight validation images, a quarter is called unlike
    doubting = calibrate_detector(detector, table, make_calibration(unlike_share=0.25)).card
    distances = detector.training_distance.validation
    assert (distances > doubting.calibration["verdict"]["unlike_from"]).sum() == 1
    rules = make_calibration("equal_error", "scaling")
    fitted = calibrate_detector(detector, table, rules)
    assert fitted.card.run_fingerprint == plain.card.run_fingerprint
    assert fitted.card.settings["calibration"] == rules.model_dump(mode="json")
    assert fitted.card.calibration["fitted"] == ["threshold", "temperature"]
    assert fitted.network is detector.network
    called = fitted.probabilities(logits) >= fitted.card.threshold
    assert abs((~called[fakes]).mean() - called[~fakes].mean()) <= 1 / 4
    with pytest.raises(UserError, match="'validation_logits'"):
        calibrate_detector(detector, table.assign(run_fingerprint="0" * 64), rules)


def test_two_threads_train_as_one_does_bit_for_bit(train):
    def run(name):
        return train(_make_dropping, name, "4")

    alone = run("alone")
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(run, ["first", "second"]))
    for each in together:
        for name, value in alone.detector.network.state_dict().items():
            assert torch.equal(value, each.detector.network.state_dict()[name]), name
        assert each.history["train_loss"].equals(alone.history["train_loss"])


def test_weights_that_cannot_be_read_and_unfit_splits_are_named(train, split, stores, tmp_path):
    training = TRAINING.model_copy(update={"weights": str(tmp_path / "none.pth")})
    with pytest.raises(UserError, match=r"training\.weights"):
        train(_Network, training=training)
    with pytest.raises(UserError, match="split_summary"):
        train(_Network, fingerprint="0" * 64)
    alone = split.assign(subset=split["subset"].replace("validation", "test"))
    states, slot = TrainingCheckpoints(tmp_path / "states"), DetectorSlot(tmp_path / "slot")
    with pytest.raises(UserError, match=r"split\.ratios\.validation"):
        train_detector(alone, _summary(alone), stores, {}, states, slot, "any", BACKBONES, TRAINING)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_what_is_kept_and_the_same_settings_go_on_from_there(
    train, tmp_path, number
):
    reference = train(_Network, "whole")
    before = signal.getsignal(number)
    with pytest.raises(InterruptedWorkError, match=r"epoch 3 in .*\.pt"):
        train(partial(_Network, 4, number))
    assert signal.getsignal(number) == before

    resumed = train(_Network)
    numbers = ["train_loss", "validation_loss", "validation_accuracy"]
    histories = [each.history[numbers] for each in (resumed, reference)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    pd.testing.assert_frame_equal(resumed.validation_logits, reference.validation_logits)
    # kept until the detector is saved
    run = resumed.detector.card.run_fingerprint
    assert TrainingCheckpoints(tmp_path / "states").load(run) is not None


def test_an_interruption_in_the_first_epoch_keeps_nothing_and_says_so(train, tmp_path):
    with pytest.raises(InterruptedWorkError):
        train(partial(_Network, 1, signal.SIGINT))
    assert not list((tmp_path / "states").glob("*"))


def test_a_state_of_a_machine_with_other_hardware_is_refused():
    hardware = {"device": "cuda", "processes": 1, "precision": "bf16", "threads": 1}
    with pytest.raises(UserError, match=r"cuda.*checkpoint\.resume=false"):
        hardware_of_checkpoint({"hardware": hardware}, TRAINING)
