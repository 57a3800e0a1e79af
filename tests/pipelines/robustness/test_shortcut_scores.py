"""Scores of equalised copies, and in strata, of a detector that goes by JPEG quality."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from detector_samples import build_detector
from picture_samples import grainy_photograph
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import nn

from deepfake_detection.images.distortions import Distortion
from deepfake_detection.images.file_properties import read_properties
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import (
    EvaluationParameters,
    RobustnessParameters,
    ShortcutParameters,
)
from deepfake_detection.pipelines.robustness import renditions
from deepfake_detection.pipelines.robustness.shortcuts import score_shortcuts

CONF = Path(__file__).parents[3] / "conf/base/parameters_data_preparation.yml"
SHORTCUTS = ShortcutParameters.model_validate(
    yaml.safe_load(CONF.read_text())["shortcuts"]
    | {"equalise": {"side": 64, "cut": 0, "quality": 5}}
)
EVALUATION = EvaluationParameters(
    batch_size=8, confidence=0.95, calibration_bins=10, few_groups=5, label_issues=3, device="cpu"
)
ROBUSTNESS = RobustnessParameters(
    subset="test", jpeg=[], blur=[], scaling=[], noise=[], brightness=[], most_images=None, seed=0
)
METRICS = {"run_fingerprint": "f" * 64}
IMAGES = 48


class _Smoothness(nn.Module):
    """Calls a picture fake that has lost its grain, as those of a low quality."""

    def forward(self, pictures):
        steps = (pictures[..., 1:] - pictures[..., :-1]).abs().mean(dim=(1, 2, 3))
        margin = 1000 * (0.02 - steps)
        return torch.stack((torch.zeros_like(margin), margin), dim=1)


def make_detector(**settings):
    card = build_detector(
        preprocessing={"resize": 64, "crop": 64, "mean": [0, 0, 0], "std": [1, 1, 1]},
        split={"fingerprint": "0" * 64, "method": "group", "note": None},
        run_fingerprint=METRICS["run_fingerprint"],
        settings={"data_preparation": settings},
    ).card
    nothing = np.empty((0, 32), np.uint8)
    return Detector(_Smoothness(), card, nothing, nothing)


def put_images(folder, is_low):
    """Photographs in groups of two, one of each class; those of a low quality have no grain."""
    for number in range(IMAGES):
        picture = grainy_photograph(number, (64, 64), grain=12)
        picture.save(folder / f"{number}.jpg", quality=5 if is_low(number) else 95)
    number = np.arange(IMAGES)
    paths = [f"{each}.jpg" for each in number]
    plain = [Distortion("none", 0.0)]
    logits, *_ = renditions.score_renditions(make_detector(), folder, paths, plain, 0, EVALUATION)
    return pd.DataFrame(
        {
            "path": paths, "class_name": np.where(number % 2, "fake", "real"),
            "label": number % 2, "source": number // 2, "group": number // 2, "subset": "test",
            "logit": logits[:, 0], "fake_probability": expit(logits[:, 0]),
            "predicted": (logits[:, 0] >= 0).astype("int64"), **METRICS,
        }
    )  # fmt: skip


def score(folder, is_low, detector=None, worst="quality"):
    predictions = put_images(folder, is_low)
    properties = read_properties(folder, predictions["path"].tolist())
    summary = {"worst": None if worst is None else {"property": worst}}
    return score_shortcuts(
        detector or make_detector(), predictions, METRICS, folder, properties, summary, SHORTCUTS,
        ROBUSTNESS, EVALUATION,
    ).set_index(["images", "metric"])  # fmt: skip


def test_a_score_that_files_make_falls_on_equalised_copies(tmp_path):
    table = score(tmp_path, lambda number: number % 2 == 1)
    assert table.loc[("as they are", "roc_auc"), "value"] == 1
    copies = table.loc[("equalised", "roc_auc")]
    assert copies["value"] < 0.8
    assert copies["difference"] == pytest.approx(copies["value"] - 1)
    assert copies["difference_low"] <= copies["difference"] <= copies["difference_high"] < 0
    accuracy = table.loc[("equalised", "accuracy")]
    assert accuracy["difference"] == pytest.approx(accuracy["value"] - 1)
    # quality separates the classes
    strata = table.loc[("in strata", "roc_auc")]
    assert np.isnan(strata["value"])
    assert "no stratum" in strata["note"]


def test_strata_compare_images_of_the_same_quality(tmp_path):
    """Half of the fakes, and a quarter of the real ones, are of the low quality."""

    def is_low(number):
        return number % 4 == 1 or number % 8 == 2

    table = score(tmp_path, is_low)
    plain, strata = table.loc[("as they are", "roc_auc")], table.loc[("in strata", "roc_auc")]
    rows = put_images(tmp_path, is_low)
    low = np.array([is_low(number) for number in range(IMAGES)])
    areas, pairs = zip(
        *(
            (roc_auc_score(of["label"], of["logit"]), of["label"].sum() * (1 - of["label"]).sum())
            for of in (rows[low], rows[~low])
        ), strict=True,
    )  # fmt: skip
    assert strata["value"] == pytest.approx(np.average(areas, weights=pairs))
    assert strata["low"] < strata["value"] < strata["high"]
    assert strata["value"] < plain["value"]
    assert strata["property"] == "quality"
    assert strata["n"] == IMAGES


def test_a_detector_of_equalised_copies_is_not_scored_on_copies_of_copies(tmp_path):
    detector = make_detector(equalise={"side": 64, "cut": 0, "quality": 90})
    table = score(tmp_path, lambda number: number % 2 == 1, detector, worst=None)
    assert set(table.index.get_level_values("images")) == {"as they are", "in strata"}
    assert "equalised" in table.loc[("as they are", "roc_auc"), "note"]
    assert "no property" in table.loc[("in strata", "roc_auc"), "note"]
