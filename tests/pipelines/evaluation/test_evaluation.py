"""Nodes of evaluation: what may be scored, and what is said of the score."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import log_loss
from torch import Tensor, nn

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import fingerprint_of_split, pack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.predicting import request_scored_pixels
from deepfake_detection.models.detector import Detector, DetectorCard
from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.pipelines.evaluation.nodes import (
    list_label_issues,
    measure_predictions,
    predict_external,
    predict_split,
    put_beside,
)

EVALUATION = EvaluationParameters(
    batch_size=3, confidence=0.95, calibration_bins=10, few_groups=5, label_issues=3, device="cpu"
)


class _Redness(nn.Module):
    """Calls a picture fake by how much red there is over blue."""

    def forward(self, pictures: Tensor) -> Tensor:
        margin = (pictures[:, 0] - pictures[:, 2]).mean(dim=(1, 2))
        return torch.stack((torch.zeros_like(margin), margin), dim=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def split(folder: Path) -> pd.DataFrame:
    """Twelve one-coloured pictures: fakes redder than real ones."""
    rows = []
    for number in range(12):
        name, subset = ("real", "fake")[number % 2], ("train", "validation", "test")[number % 3]
        path = f"{name}/{number}.png"
        (folder / name).mkdir(exist_ok=True)
        colour = (100 + number, 100, 100 - number) if name == "fake" else (90, 100, 110 + number)
        Image.new("RGB", (20, 20), colour).save(folder / path)
        rows.append(
            {
                "path": path, "class_name": name, "label": number % 2, "subset": subset,
                "sha256": hashlib.sha256((folder / path).read_bytes()).hexdigest(),
                "source": f"{name}/{number // 2}", "group": f"{name}/{number // 2}",
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def build_detector(split: pd.DataFrame) -> Callable[..., Detector]:
    def make(
        method: str = "group", trained_on: list[str] | None = None, **changes: Any
    ) -> Detector:
        summary = {
            "fingerprint": fingerprint_of_split(split), "method": method, "note": "only drawings",
        }  # fmt: skip
        card = DetectorCard(
            backbone="redness", transform_input=False,
            preprocessing={"resize": 16, "crop": 16, "mean": [0, 0, 0], "std": [1, 1, 1]},
            class_names=["real", "fake"], classes={"real": "real", "fake": "fake"}, threshold=0.5,
            temperature=1.0, best_epoch=1, best_validation_accuracy=1.0, split=summary,
            settings={}, run_fingerprint="f" * 64, versions={},
        )  # fmt: skip
        card = replace(card, **changes)
        train = split.loc[split["subset"] == "train", "sha256"].tolist()
        validation = split.loc[split["subset"] == "validation", "sha256"]
        hashes = train if trained_on is None else trained_on
        return Detector(_Redness(), card, pack_hashes(hashes), pack_hashes(validation))

    return make


@pytest.fixture
def stores(
    tmp_path: Path, folder: Path, split: pd.DataFrame, build_detector: Callable[..., Detector]
) -> PixelCache:
    stores = PixelCache(tmp_path)
    stores.build(request_scored_pixels(folder, split, build_detector(), "store"))
    return stores


def test_each_image_that_was_not_trained_on_is_scored_once(split, build_detector, stores) -> None:
    predictions = predict_split(build_detector(), split, stores, EVALUATION)
    assert sorted(predictions["path"]) == sorted(split.loc[split["subset"] != "train", "path"])
    assert (predictions["predicted"] == predictions["label"]).all()
    assert np.allclose(
        predictions["fake_probability"], 1 / (1 + np.exp(-predictions["logit"].to_numpy()))
    )


def test_scores_belong_to_their_images_whatever_the_order(split, build_detector, stores) -> None:
    straight = predict_split(build_detector(), split, stores, EVALUATION)
    mixed = split.sample(frac=1, random_state=1)
    shuffled = predict_split(build_detector(), mixed, stores, EVALUATION)
    pd.testing.assert_series_equal(
        straight.set_index("path")["logit"].sort_index(),
        shuffled.set_index("path")["logit"].sort_index(),
    )


def test_a_detector_of_another_split_is_refused(split, build_detector, stores) -> None:
    other = split.assign(subset=split["subset"].map({"train": "test"}).fillna("train"))
    with pytest.raises(UserError, match="trained on another split"):
        predict_split(build_detector(), other, stores, EVALUATION)


def test_scoring_images_that_it_trained_on_is_refused(split, build_detector, stores) -> None:
    with pytest.raises(UserError, match=r"trained on 4 of the 12 images.*real/0\.png"):
        predict_external(build_detector(), split, stores, EVALUATION)


def test_one_copied_training_image_is_enough_to_refuse(split, build_detector, stores) -> None:
    copied = split.loc[split["subset"] == "test", "sha256"].iloc[0]
    with pytest.raises(UserError, match="trained on 1 of the"):
        predict_split(build_detector(trained_on=[copied]), split, stores, EVALUATION)


def test_images_that_chose_the_epoch_are_named_in_a_set_from_elsewhere(
    split, build_detector, stores, caplog
) -> None:
    with caplog.at_level("WARNING"):
        predict_external(build_detector(trained_on=[]), split, stores, EVALUATION)
    assert "4 of these 12 images chose the epoch of the detector" in caplog.text


def test_the_table_and_the_json_say_the_same(split, build_detector, stores) -> None:
    detector = build_detector()
    predictions = predict_split(detector, split, stores, EVALUATION)
    table, metrics = measure_predictions(predictions, detector, EVALUATION)
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


@pytest.mark.parametrize("method", ["group", "individual"])
def test_the_table_says_what_validation_chose_and_what_is_inflated(
    split, build_detector, stores, method: str
) -> None:
    detector = build_detector(method)
    table, _ = measure_predictions(
        predict_split(detector, split, stores, EVALUATION), detector, EVALUATION
    )
    notes = {subset: set(rows["note"].dropna()) for subset, rows in table.groupby("subset")}
    assert any("also chose the epoch" in note for note in notes["validation"])
    assert not any("also chose the epoch" in note for note in notes["test"])
    inflated = any("inflated" in note for note in notes["test"])
    assert inflated == (method == "individual")


def test_the_table_and_the_log_say_that_validation_chose_threshold_and_temperature(
    split, build_detector, stores, caplog
) -> None:
    detector = build_detector(
        threshold=0.4, temperature=2.0, calibration={"fitted": ["threshold", "temperature"]}
    )
    predictions = predict_split(detector, split, stores, EVALUATION)
    fake = 1 / (1 + np.exp(-predictions["logit"].to_numpy() / 2))
    assert np.allclose(predictions["fake_probability"], fake)
    assert (predictions["predicted"] == (fake >= 0.4)).all()
    with caplog.at_level("INFO"):
        table, metrics = measure_predictions(predictions, detector, EVALUATION)
    said = "validation also chose the epoch, the threshold and the temperature"
    assert said in caplog.text
    assert detector.card.split["note"] in caplog.text
    notes = table[(table["subset"] == "validation") & table["value"].notna()]["note"]
    assert all(said in note for note in notes)
    assert (metrics["threshold"], metrics["temperature"]) == (0.4, 2.0)
    assert metrics["chosen_on_validation"] == "the epoch, the threshold and the temperature"
    loss = table.set_index(["metric", "subset", "level"]).loc[("log_loss", "test", "image")]
    of_test = predictions["subset"] == "test"
    expected = log_loss(predictions.loc[of_test, "label"], fake[of_test])
    assert loss["value"] == pytest.approx(expected)


def test_few_groups_are_warned_of_once_for_each_subset(
    split, build_detector, stores, caplog
) -> None:
    detector = build_detector()
    predictions = predict_split(detector, split, stores, EVALUATION)
    with caplog.at_level("WARNING"):
        measure_predictions(predictions, detector, EVALUATION)
    assert caplog.text.count("holds only 4 groups of images (few: below 5)") == 2
    caplog.clear()
    enough = EVALUATION.model_copy(update={"few_groups": 4})
    measure_predictions(predictions, detector, enough)
    assert "groups of images" not in caplog.text


def test_label_issues_are_listed_and_the_first_is_named(
    split, build_detector, stores, caplog
) -> None:
    detector = build_detector()
    predictions = predict_split(detector, split, stores, EVALUATION)
    turned = predictions.assign(label=1 - predictions["label"])
    with caplog.at_level("INFO"):
        issues = list_label_issues(turned, detector, EVALUATION)
    assert len(issues) == EVALUATION.label_issues
    assert f"first {issues['path'].iloc[0]}" in caplog.text
    assert list_label_issues(predictions, detector, EVALUATION).empty


def _metric_table(subset: str, rows: dict[tuple[str, str, str | None], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"metric": metric, "subset": subset, "level": level, "class_name": name or float("nan"),
             "value": value, "low": value - 0.1, "high": value + 0.1, "n": 10, "note": None}
            for (metric, level, name), value in rows.items()
        ]
    )  # fmt: skip


OWN = pd.concat(
    [
        _metric_table("validation", {("accuracy", "image", None): 0.99}),
        _metric_table("test", {("accuracy", "image", None): 0.9, ("recall", "image", "fake"): 0.8,
                       ("recall", "image", "fake_deepfake"): 0.7}),
    ]
)  # fmt: skip
EXTERNAL = _metric_table(
    "external",
    {("accuracy", "image", None): 0.6, ("recall", "image", "fake"): 0.5,
     ("recall", "image", "gan"): 0.4, ("accuracy", "source", None): 0.65},
)  # fmt: skip


def test_each_metric_of_both_stands_in_one_row() -> None:
    beside = put_beside(EXTERNAL, OWN).set_index(["metric", "level", "class_name"])
    recall = beside.loc[("recall", "image", "fake")]
    assert (recall["own_value"], recall["external_value"]) == (0.8, 0.5)
    assert (recall["own_low"], recall["external_high"]) == (0.8 - 0.1, 0.5 + 0.1)
    # test, on which nothing was chosen, and not validation
    accuracy = put_beside(EXTERNAL, OWN).iloc[0]
    assert (accuracy["own_value"], accuracy["external_value"]) == (0.9, 0.6)
    assert set(beside["own_subset"].dropna()) == {"test"}
    # a kind of fake that only one of the two holds, and no other row is lost
    assert np.isnan(beside.loc[("recall", "image", "gan"), "own_value"])
    assert np.isnan(beside.loc[("recall", "image", "fake_deepfake"), "external_value"])
    assert len(beside) == 5


def test_without_a_test_subset_validation_stands_beside() -> None:
    own = OWN[OWN["subset"] == "validation"]
    assert put_beside(EXTERNAL, own).iloc[0]["own_subset"] == "validation"


def test_where_nothing_is_known_of_its_own_split_the_columns_are_empty() -> None:
    beside = put_beside(EXTERNAL, None)
    assert list(beside.columns) == list(put_beside(EXTERNAL, OWN).columns)
    assert beside["own_value"].isna().all()
    assert list(beside["external_value"]) == list(EXTERNAL["value"])
