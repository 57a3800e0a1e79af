"""The node that trains: what it refuses, and what it keeps when it has to stop."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor, nn

from deepfake_detection.detector.file import DetectorSlot
from deepfake_detection.detector.fingerprints import fingerprint_of_split
from deepfake_detection.detector.pixels import PixelRequest, PixelStores
from deepfake_detection.errors import UserError
from deepfake_detection.learning.state import TrainingStates
from deepfake_detection.parameters import Backbones, TrainingParameters
from deepfake_detection.pipelines.training import nodes
from deepfake_detection.pipelines.training.nodes import train_detector

BACKBONES = Backbones.model_validate(
    {"default": {"resize": 8, "crop": 8, "mean": [0.5] * 3, "std": [0.25] * 3}}
)
TRAINING = TrainingParameters.model_validate(
    {
        "weights": "none", "epochs": 6, "batch_size": 8, "shuffle": True,
        "optimizer": {
            "name": "adam", "lr": 0.01, "head_lr_multiple": 1, "betas": [0.9, 0.999],
            "weight_decay": 0.0,
        },
        "schedule": {"name": "none", "step_size": 5, "gamma": 0.5},
        "loss": {"class_weights": "none", "auxiliary_weight": 0.4},
        "augmentation": {"flip": 0.5, "rotation": 10},
        "early_stopping": {"patience": None}, "device": "cpu", "devices": 1, "machines": 1,
        "rendezvous": None, "precision": "fp32", "compile": False, "seed": 0,
        "state": {"minutes": 0, "resume": True},
    }
)  # fmt: skip


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
def stores(split: pd.DataFrame, tmp_path: Path) -> PixelStores:
    """A store of one-coloured pictures, fakes redder."""
    folder = tmp_path / "images"
    folder.mkdir()
    hashes = []
    for path, label in zip(split["path"], split["label"], strict=True):
        number = int(path.removesuffix(".png"))
        Image.new("RGB", (8, 8), (100 + 50 * label + number, 100, 100)).save(folder / path)
        hashes.append(hashlib.sha256((folder / path).read_bytes()).hexdigest())
    split["sha256"] = hashes
    stores = PixelStores(tmp_path / "stores")
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
    split: pd.DataFrame, stores: PixelStores, slot: Path, summary: dict | None = None
) -> tuple:
    return train_detector(
        split,
        summary or _summary(split),
        stores,
        {},
        TrainingStates(slot.parent / "states"),
        DetectorSlot(slot),
        "any",
        BACKBONES,
        TRAINING,
    )


def test_a_loss_that_is_not_finite_keeps_the_best_and_says_how_to_take_it(
    split: pd.DataFrame, stores: PixelStores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    split: pd.DataFrame, stores: PixelStores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _BreaksInEpoch(1)
    monkeypatch.setattr(nodes, "build_backbone", lambda *_, **__: (network, ["fc"]))
    slot = tmp_path / "best_so_far.safetensors"
    with pytest.raises(UserError, match="No epoch before it can be kept"):
        _train(split, stores, slot)
    assert not slot.exists()


def test_the_detector_knows_its_images_and_its_best_epoch(
    split: pd.DataFrame, stores: PixelStores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_split_and_summary_of_different_runs_are_refused(
    split: pd.DataFrame, stores: PixelStores, tmp_path: Path
) -> None:
    summary = _summary(split) | {"fingerprint": "0" * 64}
    with pytest.raises(UserError, match="split and split_summary are of different runs"):
        _train(split, stores, tmp_path / "slot", summary)


def test_a_split_without_validation_is_refused(
    split: pd.DataFrame, stores: PixelStores, tmp_path: Path
) -> None:
    alone = split.assign(subset=split["subset"].replace("validation", "test"))
    with pytest.raises(UserError, match="no validation subset"):
        _train(alone, stores, tmp_path / "slot")
