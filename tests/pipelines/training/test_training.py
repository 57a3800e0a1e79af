"""The node that trains: what it refuses, and what it keeps when it has to stop."""

import hashlib
import json
import os
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn
from training_samples import make_calibration, make_training

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import (
    fingerprint_of_split,
    fingerprint_of_training,
    unpack_hashes,
)
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.interruptions import InterruptedWorkError
from deepfake_detection.models.detector_file import DetectorSlot
from deepfake_detection.parameters import Backbones, CalibrationParameters
from deepfake_detection.pipelines.training import nodes
from deepfake_detection.pipelines.training.nodes import train_detector
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.resume import hardware_of_checkpoint

BACKBONES = Backbones.model_validate(
    {"default": {"resize": 8, "crop": 8, "mean": [0.5] * 3, "std": [0.25] * 3}}
)
TRAINING = make_training(optimizer={**make_training().optimizer.model_dump(), "lr": 0.01})


@pytest.fixture
def split() -> pd.DataFrame:
    numbers = range(24)
    return pd.DataFrame(
        {
            "path": [f"{number}.png" for number in numbers],
            "sha256": [f"{number:064x}" for number in numbers],
            "class_name": [("real", "fake")[number % 2] for number in numbers],
            "label": [number % 2 for number in numbers],
            "subset": ["train" if number < 16 else "validation" for number in numbers],
        }
    )


@pytest.fixture
def stores(split: pd.DataFrame, tmp_path: Path) -> PixelCache:
    """A store of one-coloured pictures, fakes redder."""
    folder = tmp_path / "images"
    folder.mkdir()
    hashes = []
    for path, label in zip(split["path"], split["label"], strict=True):
        number = int(path.removesuffix(".png"))
        Image.new("RGB", (8, 8), (100 + 50 * label + number, 100, 100)).save(folder / path)
        hashes.append(hashlib.sha256((folder / path).read_bytes()).hexdigest())
    split["sha256"] = hashes
    stores = PixelCache(tmp_path / "stores")
    preprocessing = BACKBONES.preprocessing("any")
    stores.build(PixelRequest(folder, split["path"].tolist(), hashes, preprocessing))
    return stores


def _summary(split: pd.DataFrame) -> dict:
    return {
        "method": "group", "ratios": {}, "seed": 0, "note": None, "data_preparation": {},
        "fingerprint": fingerprint_of_split(split),
    }  # fmt: skip


class _BreaksInEpoch(nn.Module):
    """Learns as it should, and gives infinity from one epoch on."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.left = epoch

    def train(self, mode: bool = True) -> "_BreaksInEpoch":
        self.left -= mode
        return super().train(mode)  # type: ignore[return-value]

    def forward(self, pictures: Tensor) -> Tensor:
        logits = self.fc(pictures.mean(dim=(2, 3)))
        return logits if self.left > 0 else logits * torch.inf


def _train(
    split: pd.DataFrame, stores: PixelCache, slot: Path, summary: dict | None = None,
    calibration: CalibrationParameters | None = None,
) -> tuple:  # fmt: skip
    return train_detector(
        split,
        summary or _summary(split),
        stores,
        {},
        TrainingCheckpoints(slot.parent / "states"),
        DetectorSlot(slot),
        "any",
        BACKBONES,
        TRAINING,
        calibration or make_calibration(),
    )


def test_a_loss_that_is_not_finite_keeps_the_best_and_says_how_to_take_it(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _BreaksInEpoch(4)
    monkeypatch.setattr(nodes, "build_backbone", lambda *_, **__: (network, ["fc"]))
    slot = tmp_path / "best_so_far.safetensors"
    with pytest.raises(UserError, match="not finite in epoch 4") as caught:
        _train(split, stores, slot)
    message = str(caught.value)
    assert f"detector={slot}" in message
    assert "lower training.optimizer.lr" in message
    with safe_open(slot, framework="pt") as file:
        card = json.loads(file.metadata()["deepfake_detection"])
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
    assert 1 <= card["best_epoch"] <= 3
    assert card["split"]["fingerprint"] == fingerprint_of_split(split)


def test_a_loss_that_is_never_finite_keeps_nothing_and_says_so(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _BreaksInEpoch(1)
    monkeypatch.setattr(nodes, "build_backbone", lambda *_, **__: (network, ["fc"]))
    slot = tmp_path / "best_so_far.safetensors"
    with pytest.raises(UserError, match="No epoch before it can be kept"):
        _train(split, stores, slot)
    assert not slot.exists()


def test_the_detector_knows_its_images_and_its_best_epoch(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _BreaksInEpoch(99)
    monkeypatch.setattr(nodes, "build_backbone", lambda *_, **__: (network, ["fc"]))
    history, detector = _train(split, stores, tmp_path / "slot")
    assert len(detector.trained_on) == 16
    assert len(detector.validated_on) == 8
    best = history["validation_accuracy"].idxmax()
    assert detector.card.best_epoch == history["epoch"][best]
    assert detector.card.best_validation_accuracy == history["validation_accuracy"][best]
    assert history.columns.tolist() == [
        "epoch", "learning_rate", "head_learning_rate", "train_loss", "train_accuracy",
        "validation_loss", "validation_accuracy", "seconds", "images_per_second",
    ]  # fmt: skip
    assert np.isfinite(detector.logits(np.zeros((2, 8, 8, 3), np.uint8))).all()


def test_another_calibration_is_another_run_of_the_same_training(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def use_network() -> None:
        torch.manual_seed(0)
        network = _BreaksInEpoch(99)
        monkeypatch.setattr(nodes, "build_backbone", lambda *_, **__: (network, ["fc"]))

    use_network()
    _, plain = _train(split, stores, tmp_path / "slot")
    assert (plain.card.threshold, plain.card.temperature) == (0.5, 1.0)
    assert plain.card.calibration == {"fitted": [], "notes": []}

    use_network()
    rules = make_calibration("equal_error", "scaling")
    with caplog.at_level("INFO"):
        _, fitted = _train(split, stores, tmp_path / "slot", calibration=rules)
    # its state was left, since no detector was saved: nothing had to be trained again
    assert "Going on after epoch 6" in caplog.text
    assert fitted.card.run_fingerprint != plain.card.run_fingerprint
    assert fitted.card.settings["calibration"] == rules.model_dump(mode="json")
    assert fitted.card.calibration["fitted"] == ["threshold", "temperature"]
    for name, value in plain.network.state_dict().items():
        assert torch.equal(value, fitted.network.state_dict()[name])

    scored = split[split["sha256"].isin(unpack_hashes(fitted.validated_on))]
    pixels = stores.open(split["sha256"].tolist(), fitted.preprocessing)
    logits = fitted.logits(pixels.array, pixels.rows(scored["sha256"].tolist()))
    labels = scored["label"].to_numpy()
    called = fitted.probabilities(logits) >= fitted.card.threshold
    misses, alarms = (~called[labels == 1]).mean(), called[labels == 0].mean()
    assert abs(misses - alarms) <= 1 / 4


def test_split_and_summary_of_different_runs_are_refused(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    summary = _summary(split) | {"fingerprint": "0" * 64}
    with pytest.raises(UserError, match="split and split_summary are of different runs"):
        _train(split, stores, tmp_path / "slot", summary)


def test_a_split_without_validation_is_refused(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    alone = split.assign(subset=split["subset"].replace("validation", "test"))
    with pytest.raises(UserError, match="no validation subset"):
        _train(alone, stores, tmp_path / "slot")


# ---------------------------------------------------------------- interruptions


class _InterruptedInEpoch(_BreaksInEpoch):
    """Learns as it should, until a signal comes in one epoch."""

    def __init__(self, epoch: int, number: signal.Signals) -> None:
        super().__init__(99)
        self.epochs_left, self.number = epoch, number

    def train(self, mode: bool = True) -> "_InterruptedInEpoch":
        self.epochs_left -= mode
        if self.epochs_left == 0 and mode:
            os.kill(os.getpid(), self.number)
        return super().train(mode)  # type: ignore[return-value]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_says_what_is_kept_and_the_same_settings_go_on_from_there(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def use(network: nn.Module) -> None:
        torch.manual_seed(0)
        network.fc.reset_parameters()
        monkeypatch.setattr(nodes, "build_backbone", lambda *_, **__: (network, ["fc"]))

    use(_BreaksInEpoch(99))
    whole, reference = _train(split, stores, tmp_path / "whole/slot")

    use(_InterruptedInEpoch(4, number))
    before = signal.getsignal(number)
    with pytest.raises(InterruptedWorkError, match=r"end of epoch 3 in .*\.pt: the same command"):
        _train(split, stores, tmp_path / "slot")
    assert signal.getsignal(number) == before

    use(_BreaksInEpoch(99))
    with caplog.at_level("INFO"):
        history, detector = _train(split, stores, tmp_path / "slot")
    assert "Going on after epoch 3" in caplog.text
    numbers = ["train_loss", "validation_loss", "validation_accuracy"]
    pd.testing.assert_frame_equal(history[numbers], whole[numbers], check_exact=True)
    for name, value in reference.network.state_dict().items():
        assert torch.equal(value, detector.network.state_dict()[name])
    # kept until the detector is saved
    run = fingerprint_of_training(detector.card.settings, fingerprint_of_split(split))
    assert TrainingCheckpoints(tmp_path / "states").load(run) is not None


def test_an_interruption_in_the_first_epoch_keeps_nothing_and_says_so(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _InterruptedInEpoch(1, signal.SIGINT)
    monkeypatch.setattr(nodes, "build_backbone", lambda *_, **__: (network, ["fc"]))
    with pytest.raises(InterruptedWorkError, match="nothing is kept"):
        _train(split, stores, tmp_path / "slot")


def test_a_state_of_a_machine_with_other_hardware_is_refused() -> None:
    hardware = {"device": "cuda", "processes": 1, "precision": "bf16", "threads": 1}
    with pytest.raises(UserError, match=r"computed on cuda, bf16.*no cuda.*resume=false"):
        hardware_of_checkpoint({"hardware": hardware})
