"""Training one run: what it refuses, and what it keeps when it has to stop."""

import hashlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
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
from deepfake_detection.images.fingerprints import fingerprint_of_split, unpack_hashes
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.interruptions import InterruptedWorkError
from deepfake_detection.models.detector_file import DetectorSlot
from deepfake_detection.parameters import Backbones
from deepfake_detection.pipelines.calibration.nodes import calibrate_detector
from deepfake_detection.pipelines.training.nodes import train_detector
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.train_run import TrainedRun, hardware_of_checkpoint, train_run

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
    split: pd.DataFrame,
    stores: PixelCache,
    slot: Path,
    network: nn.Module,
    summary: dict | None = None,
) -> TrainedRun:
    return train_run(
        RunSettings("any", BACKBONES.preprocessing("any"), TRAINING),
        split,
        summary or _summary(split),
        stores,
        {},
        TrainingCheckpoints(slot.parent / "states"),
        DetectorSlot(slot),
        build=lambda *_, **__: (network, ["fc"]),
    )


@pytest.mark.parametrize("epoch", [4, 1])
def test_a_loss_that_is_not_finite_keeps_the_best_epoch_if_there_is_one(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, epoch: int
) -> None:
    slot = tmp_path / "best_so_far.safetensors"
    with pytest.raises(UserError, match=r"training\.optimizer\.lr") as caught:
        _train(split, stores, slot, _BreaksInEpoch(epoch))
    assert f"epoch {epoch}" in str(caught.value)
    assert slot.exists() == (f"detector={slot}" in str(caught.value)) == (epoch > 1)
    assert not list((tmp_path / "states").glob("*.pt"))
    if epoch == 1:
        return
    with safe_open(slot, framework="pt") as file:
        card = json.loads(file.metadata()["deepfake_detection"])
        assert all(torch.isfinite(file.get_tensor(name)).all() for name in file.keys())  # noqa: SIM118
    assert 1 <= card["best_epoch"] <= 3
    assert card["split"]["fingerprint"] == fingerprint_of_split(split)


def test_the_detector_knows_its_images_its_best_epoch_and_its_run(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    run = _train(split, stores, tmp_path / "slot", _BreaksInEpoch(99))
    history, detector = run.history, run.detector
    assert len(detector.trained_on) == 16
    assert len(detector.validated_on) == 8
    best = history["validation_accuracy"].idxmax()
    assert detector.card.best_epoch == history["epoch"][best]
    assert detector.card.best_validation_accuracy == history["validation_accuracy"][best]
    assert history.columns.tolist() == [
        "epoch", "learning_rate", "head_learning_rate", "train_loss", "train_accuracy",
        "validation_loss", "validation_accuracy", "seconds", "images_per_second",
        "run_fingerprint",
    ]  # fmt: skip
    for table in (history, run.validation_logits):
        assert set(table["run_fingerprint"]) == {detector.card.run_fingerprint}


def test_the_validation_logits_are_those_of_the_detector_in_the_order_of_the_split(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    run = _train(split, stores, tmp_path / "slot", _BreaksInEpoch(99))
    validation = split[split["subset"] == "validation"]
    assert run.validation_logits["path"].tolist() == validation["path"].tolist()
    assert run.validation_logits["label"].tolist() == validation["label"].tolist()
    pixels = stores.open(split["sha256"].tolist(), run.detector.preprocessing)
    logits = run.detector.logits(pixels.array, pixels.rows(validation["sha256"].tolist()))
    np.testing.assert_allclose(run.validation_logits["logit"], logits, rtol=1e-5)
    verdicts = (logits > 0).astype(int)
    accuracy = (verdicts == validation["label"]).mean()
    assert accuracy == run.detector.card.best_validation_accuracy


def test_calibration_changes_threshold_and_temperature_and_not_the_run(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    run = _train(split, stores, tmp_path / "slot", _BreaksInEpoch(99))
    plain = calibrate_detector(run.detector, run.validation_logits, make_calibration())
    assert (plain.card.threshold, plain.card.temperature) == (0.5, 1.0)
    assert plain.card.calibration == {"fitted": [], "notes": []}

    rules = make_calibration("equal_error", "scaling")
    fitted = calibrate_detector(run.detector, run.validation_logits, rules)
    assert fitted.card.run_fingerprint == plain.card.run_fingerprint
    assert fitted.card.settings["calibration"] == rules.model_dump(mode="json")
    assert fitted.card.calibration["fitted"] == ["threshold", "temperature"]
    assert fitted.network is run.detector.network

    scored = split[split["sha256"].isin(unpack_hashes(fitted.validated_on))]
    pixels = stores.open(split["sha256"].tolist(), fitted.preprocessing)
    logits = fitted.logits(pixels.array, pixels.rows(scored["sha256"].tolist()))
    labels = scored["label"].to_numpy()
    called = fitted.probabilities(logits) >= fitted.card.threshold
    misses, alarms = (~called[labels == 1]).mean(), called[labels == 0].mean()
    assert abs(misses - alarms) <= 1 / 4

    others = run.validation_logits.assign(run_fingerprint="0" * 64)
    with pytest.raises(UserError, match="'validation_logits'"):
        calibrate_detector(run.detector, others, rules)


def test_two_threads_train_as_one_does_bit_for_bit(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    def run(name: str) -> TrainedRun:
        return train_run(
            RunSettings("any", BACKBONES.preprocessing("any"), TRAINING),
            split, _summary(split), stores, {}, TrainingCheckpoints(tmp_path / name),
            build=lambda *_, **__: (
                nn.Sequential(
                    nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5),
                    nn.Linear(32, 2),
                ),
                ["4"],
            ),
        )  # fmt: skip

    alone = run("alone")
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(run, ["first", "second"]))
    for each in together:
        for name, value in alone.detector.network.state_dict().items():
            assert torch.equal(value, each.detector.network.state_dict()[name]), name
        assert each.history["train_loss"].equals(alone.history["train_loss"])


def test_split_and_summary_of_different_runs_are_refused(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    summary = _summary(split) | {"fingerprint": "0" * 64}
    with pytest.raises(UserError, match="split_summary"):
        _train(split, stores, tmp_path / "slot", _BreaksInEpoch(99), summary)


def test_a_split_without_validation_is_refused(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    alone = split.assign(subset=split["subset"].replace("validation", "test"))
    states, slot = TrainingCheckpoints(tmp_path / "states"), DetectorSlot(tmp_path / "slot")
    with pytest.raises(UserError, match=r"split\.ratios\.validation"):
        train_detector(alone, _summary(alone), stores, {}, states, slot, "any", BACKBONES, TRAINING)


def test_weights_that_cannot_be_read_are_named(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    training = TRAINING.model_copy(update={"weights": str(tmp_path / "none.pth")})
    with pytest.raises(UserError, match=r"training\.weights"):
        train_run(
            RunSettings("any", BACKBONES.preprocessing("any"), training),
            split, _summary(split), stores, {}, TrainingCheckpoints(tmp_path / "states"),
        )  # fmt: skip


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
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path, number: signal.Signals
) -> None:
    def fresh(network: nn.Module) -> nn.Module:
        torch.manual_seed(0)
        network.fc.reset_parameters()
        return network

    reference = _train(split, stores, tmp_path / "whole/slot", fresh(_BreaksInEpoch(99)))

    before = signal.getsignal(number)
    with pytest.raises(InterruptedWorkError, match=r"epoch 3 in .*\.pt"):
        _train(split, stores, tmp_path / "slot", fresh(_InterruptedInEpoch(4, number)))
    assert signal.getsignal(number) == before

    resumed = _train(split, stores, tmp_path / "slot", fresh(_BreaksInEpoch(99)))
    history, whole, detector = resumed.history, reference.history, resumed.detector
    numbers = ["train_loss", "validation_loss", "validation_accuracy"]
    pd.testing.assert_frame_equal(history[numbers], whole[numbers], check_exact=True)
    pd.testing.assert_frame_equal(resumed.validation_logits, reference.validation_logits)
    for name, value in reference.detector.network.state_dict().items():
        assert torch.equal(value, detector.network.state_dict()[name])
    # kept until the detector is saved
    run = detector.card.run_fingerprint
    assert TrainingCheckpoints(tmp_path / "states").load(run) is not None


def test_an_interruption_in_the_first_epoch_keeps_nothing_and_says_so(
    split: pd.DataFrame, stores: PixelCache, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedWorkError):
        _train(split, stores, tmp_path / "slot", _InterruptedInEpoch(1, signal.SIGINT))
    assert not list((tmp_path / "states").glob("*"))


def test_a_state_of_a_machine_with_other_hardware_is_refused() -> None:
    hardware = {"device": "cuda", "processes": 1, "precision": "bf16", "threads": 1}
    with pytest.raises(UserError, match=r"cuda.*checkpoint\.resume=false"):
        hardware_of_checkpoint({"hardware": hardware})
