"""The robustness sweep, with a detector that takes sharp pictures for fakes."""

from dataclasses import replace
from typing import Any
from unittest.mock import Mock, create_autospec

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from detector_samples import build_detector
from picture_samples import grainy_photograph
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from torch import nn

from deepfake_detection.errors import UserError
from deepfake_detection.images.distortions import Distortion
from deepfake_detection.images.group_sample import draw_groups
from deepfake_detection.metrics.differences import measure_differences
from deepfake_detection.models import devices as memory
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import EvaluationParameters, RobustnessParameters
from deepfake_detection.pipelines.robustness import renditions
from deepfake_detection.pipelines.robustness.nodes import (
    DistortedScores,
    choose_images,
    measure_robustness,
    score_distorted,
)

EVALUATION = EvaluationParameters(
    batch_size=3, confidence=0.95, calibration_bins=10, few_groups=5, label_issues=3, device="cpu"
)
METRICS = {"run_fingerprint": "f" * 64}


class _Sharpness(nn.Module):
    """Calls a picture fake by how much neighbouring pixels differ."""

    def forward(self, pictures):
        steps = (pictures[..., 1:] - pictures[..., :-1]).abs().mean(dim=(1, 2, 3))
        margin = 60 * (steps - 0.06)
        return torch.stack((torch.zeros_like(margin), margin), dim=1)


def _robustness(**changes):
    settings: dict[str, Any] = {
        "subset": "auto", "jpeg": [], "blur": [3, 1], "scaling": [], "noise": [64],
        "brightness": [], "most_images": None, "seed": 0,
    }  # fmt: skip
    return RobustnessParameters.model_validate(settings | changes)


@pytest.fixture
def detector():
    card = build_detector(
        preprocessing={"resize": 20, "crop": 16, "mean": [0, 0, 0], "std": [1, 1, 1]},
        split={"fingerprint": "0" * 64, "method": "group", "note": "only drawings"},
        run_fingerprint=METRICS["run_fingerprint"],
    ).card
    nothing = np.empty((0, 32), np.uint8)
    return Detector(_Sharpness(), card, nothing, nothing)


@pytest.fixture
def folder(tmp_path):
    for number in range(24):
        picture = grainy_photograph(number, (24, 24), grain=40 if number % 2 else 4)
        picture.save(tmp_path / f"{number}.png")
    return tmp_path


@pytest.fixture
def predictions(folder, detector):
    """Groups of two images, one of each class, eight of validation and sixteen of test."""
    number = np.arange(24)
    paths = [f"{each}.png" for each in number]
    undistorted = [Distortion("none", 0.0)]
    logits, *_ = renditions.score_renditions(detector, folder, paths, undistorted, 0, EVALUATION)
    return pd.DataFrame(
        {
            "path": paths, "class_name": np.where(number % 2, "fake", "real"),
            "label": number % 2, "source": number // 2, "group": number // 2,
            "subset": np.repeat(["validation", "test"], [8, 16]), "logit": logits[:, 0],
            "fake_probability": expit(logits[:, 0]),
            "predicted": (logits[:, 0] >= 0).astype("int64"), **METRICS,
        }
    )  # fmt: skip


@pytest.fixture
def score(detector, predictions, folder):
    def score_rows(rows=predictions, **changes):
        return score_distorted(detector, rows, METRICS, folder, _robustness(**changes), EVALUATION)

    return score_rows


def _pick(table, name, metric, of=None):
    same_class = table["class_name"].isna() if of is None else table["class_name"] == of
    return table[(table["distortion"] == name) & (table["metric"] == metric) & same_class]


def test_blur_hides_fakes_and_noise_accuses_real_ones(detector, score, caplog):
    caplog.set_level("INFO")
    table = measure_robustness(score(), detector, EVALUATION)
    assert set(table["subset"]) == {"test"}
    assert set(table["run_fingerprint"]) == {"f" * 64}
    assert table["n"].isin([16, 8]).all()
    strengths = table[["distortion", "strength"]].drop_duplicates()
    assert strengths.values.tolist() == [["none", 0], ["blur", 1], ["blur", 3], ["noise", 64]]
    assert _pick(table, "none", "accuracy")["value"].item() == 1
    blurred = _pick(table, "blur", "recall", "fake").iloc[-1]
    assert (blurred["strength"], blurred["value"], blurred["difference"]) == (3, 0, -1)
    assert _pick(table, "blur", "recall", "real")["value"].eq(1).all()
    noisy = _pick(table, "noise", "recall", "real").iloc[0]
    assert (noisy["value"], noisy["difference"]) == (0, -1)
    for name in table["strength_name"].unique()[2:]:
        assert f"{name}: accuracy 1.0000 → 0.5" in caplog.text
    assert "only drawings" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_figures_and_paired_differences_are_those_of_the_scores(detector):
    number = np.arange(60)
    scored = pd.DataFrame(
        {
            "path": number.astype(str), "class_name": np.where(number % 2, "fake", "real"),
            "label": number % 2, "group": number // 4, "subset": "validation",
        }
    )  # fmt: skip
    fake = number % 2 == 1
    noise = np.random.default_rng(3).normal(size=(60, 2))
    logits = np.where(fake, 1, -1)[:, None] * [2.0, 0.6] + noise
    judged = replace(detector, card=replace(detector.card, threshold=0.6, temperature=2.0))
    distortions = [Distortion("none", 0.0), Distortion("jpeg", 30)]
    scores = DistortedScores(scored, distortions, logits, np.full((60, 2), np.nan))
    table = measure_robustness(scores, judged, EVALUATION)
    called = expit(logits / 2) >= 0.6
    plain, jpeg = (
        scored.assign(logit=logits[:, at], predicted=called[:, at].astype("int64")) for at in (0, 1)
    )
    differences = measure_differences(jpeg, plain, (2.0, 2.0), "validation", "image", 0.95)
    paired = {each.metric: each for each in differences}
    accuracies = (called == fake[:, None]).mean(axis=0)
    areas = [roc_auc_score(fake, each) for each in logits.T]
    for metric, (before, after) in {"accuracy": accuracies, "roc_auc": areas}.items():
        row = _pick(table, "jpeg", metric).iloc[0]
        assert _pick(table, "none", metric)["value"].item() == pytest.approx(before)
        assert row["value"] == pytest.approx(after)
        assert row["low"] < row["value"] < row["high"]
        assert row["difference"] == pytest.approx(after - before)
        ends = row["difference_low"], row["difference_high"]
        assert ends == (paired[metric].low, paired[metric].high)
        assert "chose the epoch" in row["note"]


def test_memory_is_kept_over_all_windows_and_given_back_once(score, monkeypatch):
    libc = Mock()
    monkeypatch.setattr(memory, "_glibc", lambda: libc)
    monkeypatch.setattr(renditions, "images_of_a_window", lambda *_: 2)
    score()
    libc.malloc_trim.assert_called_once()


def test_windows_of_any_size_give_the_same_scores_and_bound_what_is_in_memory(score, monkeypatch):
    whole = score().logits
    scoring = create_autospec(Detector.describe_pixels, side_effect=Detector.describe_pixels)
    monkeypatch.setattr(Detector, "describe_pixels", scoring)
    # two images under four distortions, and less than one
    for least, window in ((2 * 4 * 16 * 16 * 3, 2), (1, 1)):
        monkeypatch.setattr(renditions, "_WINDOW", least)
        np.testing.assert_allclose(score().logits, whole, atol=1e-6)
        sizes = [len(call.args[1]) for call in scoring.call_args_list]
        assert max(sizes) <= 4 * max(window, joblib.cpu_count())
    assert sum(sizes) == 2 * 4 * 16


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"", "empty file"), (b"no picture", "not a picture")],
)
def test_a_lost_file_is_named_and_left_out_of_all_strengths(
    detector, score, folder, caplog, content, reason
):
    (folder / "9.png").unlink()
    if content is not None:
        (folder / "9.png").write_bytes(content)
    scores = score()
    assert "1 of the 16 scored images" in caplog.text
    assert f"9.png ({reason}" in caplog.text
    assert len(caplog.records) == 1
    assert "9.png" not in set(scores.scored["path"])
    assert not np.isnan(scores.logits).any()
    table = measure_robustness(scores, detector, EVALUATION)
    assert table.loc[table["metric"] == "accuracy", "n"].eq(15).all()


def test_without_any_file_left_it_says_so(detector, predictions, tmp_path):
    with pytest.raises(UserError, match=r" 16 .*8\.png \(No such.*and 13 more"):
        score_distorted(
            detector, predictions, METRICS, tmp_path / "empty", _robustness(), EVALUATION
        )


def test_a_file_that_changed_is_warned_of(score, folder, caplog):
    (folder / "11.png").write_bytes((folder / "10.png").read_bytes())
    score()
    assert "1 of 16 undistorted images" in caplog.text
    assert "11.png (logit" in caplog.text


def test_predictions_of_another_detector_are_refused(detector, predictions, folder):
    others = {"run_fingerprint": "a" * 64}
    with pytest.raises(UserError, match=r"aaaa.*--pipelines evaluation"):
        score_distorted(detector, predictions, others, folder, _robustness(), EVALUATION)


def test_one_class_alone_has_no_area_and_says_why(detector, predictions, score, caplog):
    caplog.set_level("INFO")
    scores = score(predictions[predictions["label"] == 1])
    table = measure_robustness(scores, detector, EVALUATION)
    areas = table[table["metric"] == "roc_auc"]
    assert areas["value"].isna().all()
    assert areas["note"].all()
    assert "undefined → undefined" in caplog.text
    assert table.loc[table["metric"] == "accuracy", "value"].notna().all()


def test_the_subset_that_nothing_was_chosen_on_is_taken_where_there_is_single(predictions):
    def chosen(asked, there):
        known = predictions[predictions["subset"].isin(there)]
        return set(choose_images(known, _robustness(subset=asked))["subset"])

    assert chosen("auto", ["validation", "test"]) == {"test"}
    assert chosen("auto", ["validation"]) == {"validation"}
    assert chosen("validation", ["validation", "test"]) == {"validation"}
    for asked, there in (("test", ["validation"]), ("auto", [])):
        with pytest.raises(UserError, match=r"'robustness\.subset'"):
            chosen(asked, there)


def test_whole_groups_are_drawn_and_each_class_keeps_its_share(caplog):
    caplog.set_level("INFO")
    number = np.arange(1200)
    # groups of five; two of three are fakes, of two kinds
    names = np.array(["real", "deepfake", "face2face"])[number // 5 % 3]
    scored = pd.DataFrame(
        {"path": number, "class_name": names, "group": number // 5, "subset": "test"}
    )
    drawn = choose_images(scored, _robustness(most_images=300))
    assert "1200 images of test 300" in caplog.text
    assert (drawn["class_name"].value_counts() == 100).all()
    assert (drawn.groupby("group").size() == 5).all()
    mixed = draw_groups(scored.sample(frac=1, random_state=1), 300, 0)
    assert set(mixed["path"]) == set(drawn["path"])
    assert set(draw_groups(scored, 300, 1)["path"]) != set(drawn["path"])
    # fewer than a group of each class: one of each
    assert len(draw_groups(scored, 4, 0)) == 15
    assert choose_images(scored, _robustness(most_images=1200)).equals(scored)


def test_noise_hangs_on_the_seed_and_not_on_the_images_beside_it(predictions, score):
    first, mixed = (score(rows, blur=[]).logits for rows in (predictions, predictions[::-1]))
    np.testing.assert_allclose(first, mixed[::-1], atol=1e-6)
    assert not np.isclose(first[:, 1], score(blur=[], seed=1).logits[:, 1]).any()
