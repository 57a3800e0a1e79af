"""Metrics over the folds of a cross-validation."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from study_samples import BASE, make_metrics, make_study

from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.pipelines.studies.folds import pool_folds
from deepfake_detection.pipelines.studies.tables import summarise_rows

EVALUATION = EvaluationParameters.model_validate(BASE["evaluation"])
# What the logits of each fold are multiplied by, and what is added
SCALES = [(1, 0), (5, 4), (0.3, -3), (2, -6), (10, 8)]


def make_predictions(draw, scale=1, offset=0, images=120):
    """Test predictions of one fold, ten validation images besides; accuracy at 0 of its own."""
    numbers = np.arange(images)
    score = np.random.default_rng(draw).normal(size=images) + 2.4 * (numbers % 2) - 1.2
    table = pd.DataFrame(
        {
            "path": [f"fold{draw}/{number}.png" for number in numbers],
            "class_name": np.where(numbers % 2, "fake", "real"),
            "label": numbers % 2,
            "source": [f"{draw}-{number // 4}" for number in numbers],
            "subset": np.where(numbers < 10, "validation", "test"),
            "logit": scale * score + offset,
            "fake_probability": 0.5,
            "predicted": (score >= 0).astype(int),
        }
    )
    return table.assign(group=table["source"])


def pool(*predictions, **score):
    study = make_study({"folds": len(predictions), "one": {}})
    results = {f"metrics:{name}": make_metrics(study, name, {}) | score for name in study.runs}
    runs = zip(study.runs, predictions, strict=True)
    results |= {f"predictions:{name}": each for name, each in runs}
    return pool_folds(study, EVALUATION, **results)


@pytest.fixture(scope="module")
def pooled():
    return pool(*(make_predictions(number, *scale) for number, scale in enumerate(SCALES)))


def value(metrics, metric, level="image"):
    return metrics[(metrics["metric"] == metric) & (metrics["level"] == level)].iloc[0]


def test_metrics_that_rank_scores_are_means_over_folds_of_different_scales(pooled):
    images, metrics, _ = pooled
    areas = [roc_auc_score(fold["label"], fold["logit"]) for _, fold in images.groupby("fold")]
    found = value(metrics, "roc_auc")
    assert found["value"] == pytest.approx(np.mean(areas))
    of_kind = metrics[(metrics["metric"] == "roc_auc_of_kind") & (metrics["level"] == "image")]
    # there is one kind, so that it is the same
    for name in ("value", "low", "high"):
        assert of_kind[name].tolist() == pytest.approx([found[name]])
    # all logits on one scale say less
    assert roc_auc_score(images["label"], images["logit"]) < np.mean(areas) - 0.01
    assert 0.01 < found["high"] - found["low"] < 0.06
    assert found["low"] < found["value"] < found["high"]
    # the mean does not depend on the scale of any fold
    equal = pool(*map(make_predictions, range(5)))[1]
    for metric in ("roc_auc", "average_precision", "equal_error_rate"):
        columns = ["value", "low", "high"]
        ours, theirs = (value(each, metric)[columns].astype(float) for each in (metrics, equal))
        np.testing.assert_allclose(ours, theirs, atol=1e-12, err_msg=metric)


def test_metrics_of_verdicts_are_measured_on_all_images(pooled):
    images, metrics, issues = pooled
    assert len(images) == images["path"].nunique() == 5 * 110
    right = images["label"] == images["predicted"]
    accuracy = value(metrics, "accuracy")
    assert accuracy["value"] == pytest.approx(right.mean())
    assert accuracy["n"] == len(images)
    assert set(metrics["level"]) == {"image", "source"}
    assert set(issues["row"]) == {"one"}
    assert set(issues["seed"]) == {BASE["training"]["seed"]}


def test_sources_are_scored_by_the_rule_of_each_detector(pooled):
    top = pool(
        *map(make_predictions, range(3)), source_score={"rule": "top_share", "top_share": 0.3}
    )
    images, metrics, _ = top
    # one of the two images of each class
    by_source = images.groupby(["fold", "source", "label"])["logit"].max().reset_index()
    right = (by_source["logit"] >= 0) == by_source["label"]
    assert value(metrics, "accuracy", "source")["value"] == pytest.approx(right.mean())


def test_a_fold_without_one_class_is_left_out_of_the_mean():
    first, *others = map(make_predictions, range(3))
    images, metrics, _ = pool(first[first["label"] == 1], *others)
    folds = [fold for number, fold in images.groupby("fold") if number > 1]
    areas = [roc_auc_score(fold["label"], fold["logit"]) for fold in folds]
    assert value(metrics, "roc_auc")["value"] == pytest.approx(np.mean(areas))


def test_the_summary_has_the_metrics_of_all_folds_without_an_interval_for_several_seeds():
    study = make_study({"folds": 3, "seeds": [1, 2], "one": {}})
    table = pd.DataFrame(
        {
            "run": list(study.runs), "row": "one", "title": "one", "subset": "test",
            "best_validation_accuracy": 0.9, "accuracy": 0.8, "roc_auc": 0.95,
        }
    )  # fmt: skip
    folds = pd.DataFrame(
        {
            "row": "one", "seed": [1, 2, 1], "metric": "accuracy",
            "level": ["image", "image", "source"], "value": [0.8, 0.7, 0.1],
            "low": 0.6, "high": 0.9,
        }
    )  # fmt: skip
    line = summarise_rows(study, table, folds).set_index("metric").loc["accuracy"]
    assert line["all_folds"] == pytest.approx(0.75)
    assert np.isnan(line["all_folds_low"])
    one = summarise_rows(study, table, folds[folds["seed"] == 1]).set_index("metric")
    assert one.at["accuracy", "all_folds_low"] == 0.6
