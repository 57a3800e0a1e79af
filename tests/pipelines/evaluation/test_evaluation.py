"""Nodes of evaluation: what may be scored, and what is said of the score."""

import hashlib
import json

import detector_samples
import numpy as np
import pandas as pd
import pytest
import torch
from face_samples import face_settings
from picture_samples import make_image_set
from PIL import Image
from scipy.special import expit
from sklearn.metrics import log_loss
from torch import nn

from deepfake_detection.errors import UserError
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.images.fingerprints import fingerprint_of_split, pack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.metrics.predicting import request_scored_pixels
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.pipelines.evaluation.nodes import (
    compare_with_own_split,
    list_label_issues,
    measure_predictions,
    predict_external,
    predict_split,
    put_beside,
    take_all_images,
)

EVALUATION = EvaluationParameters(
    batch_size=3, confidence=0.95, calibration_bins=10, few_groups=5, label_issues=3, device="cpu"
)


class _Redness(nn.Module):
    """Calls a picture fake by how much red there is over blue."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, 2, bias=False)
        self.fc.weight.data = torch.tensor([[0.0], [1.0]])

    def forward(self, pictures):
        margin = (pictures[:, 0] - pictures[:, 2]).mean(dim=(1, 2))
        return self.fc(margin[:, None])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def split(folder, put_files, encode):
    """Twelve one-coloured pictures: fakes redder than real ones."""
    number = np.arange(12)
    split = pd.DataFrame({"class_name": ["real", "fake"] * 6, "label": number % 2})
    split["subset"] = ["train", "validation", "test"] * 4
    split["path"] = [f"{name}/{each}.png" for each, name in enumerate(split["class_name"])]
    split["source"] = split["group"] = split["class_name"] + [f"/{each // 2}" for each in number]
    colours = [(100 + n, 100, 100 - n) if n % 2 else (90, 100, 110 + n) for n in range(12)]
    files = [encode(Image.new("RGB", (20, 20), colour)) for colour in colours]
    put_files(folder, dict(zip(split["path"], files, strict=True)))
    return split.assign(sha256=[hashlib.sha256(content).hexdigest() for content in files])


@pytest.fixture
def build_detector(split):
    def make(method="group", trained_on=None, **changes):
        fingerprint = fingerprint_of_split(split)
        card = detector_samples.build_detector(
            preprocessing={"resize": 16, "crop": 16, "mean": [0, 0, 0], "std": [1, 1, 1]},
            split={"fingerprint": fingerprint, "method": method, "note": "only drawings"},
            **changes,
        ).card
        hashes = split.groupby("subset")["sha256"].apply(list)
        trained_on = hashes["train"] if trained_on is None else trained_on
        return Detector(
            _Redness(), card, pack_hashes(trained_on), pack_hashes(hashes["validation"])
        )

    return make


@pytest.fixture
def stores(tmp_path, folder, split, build_detector):
    stores = PixelCache(tmp_path)
    stores.build(request_scored_pixels(folder, split, build_detector(), "store"))
    return stores


@pytest.fixture
def predict(split, stores):
    return lambda detector, rows=split: predict_split(detector, rows, stores, EVALUATION)


def test_each_image_that_was_not_trained_on_is_scored_once(split, build_detector, predict):
    predictions = predict(build_detector())
    assert sorted(predictions["path"]) == sorted(split.loc[split["subset"] != "train", "path"])
    assert (predictions["predicted"] == predictions["label"]).all()
    assert np.allclose(predictions["fake_probability"], expit(predictions["logit"]))
    # scores belong to their images whatever the order
    shuffled = predict(build_detector(), split.sample(frac=1, random_state=1))
    pd.testing.assert_series_equal(
        *(each.set_index("path")["logit"].sort_index() for each in (predictions, shuffled))
    )


def test_what_it_trained_on_and_other_splits_are_refused(split, build_detector, predict, stores):
    other = split.assign(subset=split["subset"].map({"train": "test"}).fillna("train"))
    with pytest.raises(UserError, match="another split"):
        predict(build_detector(), other)
    with pytest.raises(UserError, match=r" 4 of the 12 images.*real/0\.png"):
        predict_external(build_detector(), split, stores, EVALUATION)
    # one copy is enough
    copied = split.loc[split["subset"] == "test", "sha256"].iloc[0]
    with pytest.raises(UserError, match="trained on 1 of the"):
        predict(build_detector(trained_on=[copied]))


def test_images_that_chose_the_epoch_are_scored_apart_in_a_set_from_elsewhere(
    split, build_detector, stores, caplog
):
    detector = build_detector(trained_on=[])
    images = split.drop(columns="subset").assign(crop_recipe=None)
    image_set = make_image_set({"real": "real", "fake": "fake"})
    external = take_all_images(images, detector, image_set)
    assert "4 of these 12 images chose the epoch" in caplog.text
    assert list(external["subset"]) == ["validation"] * 4 + ["external"] * 8
    chose = set(split.loc[split["subset"] == "validation", "path"])
    assert set(external["path"][:4]) == chose
    predictions = predict_external(detector, external, stores, EVALUATION)
    table, _ = measure_predictions(predictions, detector, EVALUATION)
    notes = table[table["subset"] == "validation"]["note"].dropna()
    assert notes.str.contains("chose the epoch").all()
    beside = compare_with_own_split(table, detector, FinishedScores())
    accuracy = beside[(beside["metric"] == "accuracy") & (beside["level"] == "image")]
    assert list(accuracy["external_n"]) == [8]


@pytest.mark.parametrize(
    ("of_detector", "of_images", "said"),
    [
        ({}, {}, None),
        ({}, {"min_size": 40.0}, "min_size"),
        ({}, {"crop": {"margin": 1.5}}, "crop"),
        (None, {}, "made elsewhere"),
        ({}, None, "elsewhere"),
        (None, None, None),
    ],
)
def test_faces_that_were_cropped_in_another_way_give_a_warning(
    of_detector, of_images, said, split, caplog
):
    settings = face_settings()
    recipe = CropRecipe.of(settings, settings.crop, "ab" * 32).model_dump()

    def changed(changes):
        crop = recipe["crop"] | (changes.get("crop", {}))
        return recipe | {name: value for name, value in changes.items() if name != "crop"} | {
            "crop": crop
        }  # fmt: skip

    described = {"fingerprint": "ab" * 32, "method": "group", "note": None}
    if of_detector is not None:
        described["crop_recipe"] = changed(of_detector)
    images = split.assign(crop_recipe=None if of_images is None else json.dumps(changed(of_images)))
    detector = detector_samples.build_detector(split=described)
    take_all_images(images, detector, make_image_set({"real": "real", "fake": "fake"}))
    warnings = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == (said is not None)
    assert said is None or said in warnings[0]


def test_the_table_and_the_json_say_the_same(build_detector, predict):
    detector = build_detector()
    table, metrics = measure_predictions(predict(detector), detector, EVALUATION)
    assert metrics == json.loads(json.dumps(metrics, allow_nan=False))
    assert metrics["run_fingerprint"] == detector.card.run_fingerprint
    for row in table.to_dict("records"):
        value = metrics["subsets"][row["subset"]][f"{row['level']}s"][row["metric"]]
        if isinstance(row["class_name"], str):
            value = value[row["class_name"]]
        for name in ("value", "low", "high", "n"):
            assert row[name] == value[name] or (np.isnan(row[name]) and value[name] is None)
    assert set(table["subset"]) == {"validation", "test"}
    assert set(table["level"]) == {"image", "source"}
    assert not table["note"].str.contains("inflated").any()


def test_the_table_and_the_log_say_what_validation_chose_and_what_is_inflated(
    build_detector, predict, caplog
):
    caplog.set_level("INFO")
    calibration = {"fitted": ["threshold", "temperature"]}
    detector = build_detector("individual", threshold=0.4, temperature=2.0, calibration=calibration)
    predictions = predict(detector)
    fake = expit(predictions["logit"] / 2)
    assert np.allclose(predictions["fake_probability"], fake)
    assert (predictions["predicted"] == (fake >= 0.4)).all()
    table, metrics = measure_predictions(predictions, detector, EVALUATION)
    said = metrics["chosen_on_validation"]
    assert all(name in said for name in ("epoch", "threshold", "temperature"))
    assert said in caplog.text
    assert detector.card.split["note"] in caplog.text
    defined = table[table["value"].notna()].set_index("subset")["note"]
    assert defined["validation"].str.contains(said).all()
    assert defined["test"].str.contains("inflated").all()
    assert not defined["test"].str.contains(said).any()
    assert (metrics["threshold"], metrics["temperature"]) == (0.4, 2.0)
    loss = table.set_index(["metric", "subset", "level"]).loc[("log_loss", "test", "image")]
    of_test = predictions["subset"] == "test"
    expected = log_loss(predictions.loc[of_test, "label"], fake[of_test])
    assert loss["value"] == pytest.approx(expected)


@pytest.mark.parametrize(("few", "times"), [(5, 2), (4, 0)])
def test_few_groups_are_warned_of_once_for_each_subset(build_detector, predict, caplog, few, times):
    detector = build_detector()
    evaluation = EVALUATION.model_copy(update={"few_groups": few})
    measure_predictions(predict(detector), detector, evaluation)
    assert caplog.text.count("only 4 groups") == times


def test_label_issues_are_listed_and_the_first_is_named(build_detector, predict, caplog):
    caplog.set_level("INFO")
    predictions = predict(build_detector())
    turned = predictions.assign(label=1 - predictions["label"])
    issues = list_label_issues(turned, build_detector(), EVALUATION)
    assert len(issues) == EVALUATION.label_issues
    assert f"first {issues['path'].iloc[0]}" in caplog.text
    assert list_label_issues(predictions, build_detector(), EVALUATION).empty


def _metric_table(subset, *rows):
    table = pd.DataFrame(rows, columns=["metric", "level", "class_name", "value"])
    low, high = table["value"] - 0.1, table["value"] + 0.1
    return table.assign(subset=subset, low=low, high=high, n=10, note=None)


VALIDATION = _metric_table("validation", ("accuracy", "image", None, 0.99))
TEST = _metric_table(
    "test", ("accuracy", "image", None, 0.9), ("recall", "image", "fake", 0.8),
    ("recall", "image", "fake_deepfake", 0.7),
)  # fmt: skip
OWN = pd.concat([VALIDATION, TEST])
EXTERNAL = _metric_table(
    "external", ("accuracy", "image", None, 0.6), ("recall", "image", "fake", 0.5),
    ("recall", "image", "gan", 0.4), ("accuracy", "source", None, 0.65),
)  # fmt: skip


def test_each_metric_of_both_stands_in_one_row():
    beside = put_beside(EXTERNAL, OWN)
    # test, on which nothing was chosen, and not validation
    accuracy = beside.iloc[0]
    assert (accuracy["own_value"], accuracy["external_value"]) == (0.9, 0.6)
    assert set(beside["own_subset"].dropna()) == {"test"}
    rows = beside.set_index(["metric", "level", "class_name"])
    recall = rows.loc[("recall", "image", "fake")]
    assert (recall["own_value"], recall["external_value"]) == (0.8, 0.5)
    assert (recall["own_low"], recall["external_high"]) == (0.8 - 0.1, 0.5 + 0.1)
    # a kind of fake that only one of the two holds, and no other row is lost
    assert np.isnan(rows.loc[("recall", "image", "gan"), "own_value"])
    assert np.isnan(rows.loc[("recall", "image", "fake_deepfake"), "external_value"])
    assert len(beside) == 5
    # without a test subset, validation; or nothing is known
    assert put_beside(EXTERNAL, VALIDATION).iloc[0]["own_subset"] == "validation"
    alone = put_beside(EXTERNAL, None)
    assert list(alone.columns) == list(beside.columns)
    assert alone["own_value"].isna().all()
    assert list(alone["external_value"]) == list(EXTERNAL["value"])
