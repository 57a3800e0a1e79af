"""Metrics against independent computations, on random and on degenerate predictions."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from deepfake_detection.metrics.metrics import (
    COUNTS,
    bin_reliability,
    measure,
)
from deepfake_detection.metrics.source_scores import score_sources
from deepfake_detection.models.source_score import SourceScore


def _table(labels, logits):
    """Scored images, three to a group, with two kinds of fakes."""
    labels, logits, number = np.array(labels), np.array(logits, float), np.arange(len(labels))
    return pd.DataFrame(
        {
            "class_name": np.where(labels == 0, "real", np.where(number % 2, "fake_b", "fake_a")),
            "label": labels,
            "group": number // 3,
            "logit": logits,
            "fake_probability": expit(logits),
            "predicted": (logits >= 0).astype(int),
        }
    )


def _rows(table, **changes):
    options = {"confidence": 0.95, "calibration_bins": 10, "temperature": 1.0} | changes
    return list(measure(table, "test", "image", **options))


def _measure(table, **options):
    return {(m.metric, m.class_name): m.value for m in _rows(table, **options)}


def _arrays(drawn):
    labels, logits = zip(*drawn, strict=True)
    return np.array(labels), np.array(logits)


OF_ORDER = ("roc_auc", "average_precision", "equal_error_rate")
predictions = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-6, 6).map(lambda value: value / 2)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(predictions, st.sampled_from([0.3, 1.0, 4.0]))
def test_metrics_agree_with_scikit_learn(drawn, temperature):
    labels, logits = _arrays(drawn)
    called, fake = (logits >= 0).astype(int), expit(logits / temperature)
    expected = dict(zip(COUNTS, confusion_matrix(labels, called, labels=[0, 1]).flat, strict=True))
    expected |= {
        "accuracy": accuracy_score(labels, called),
        "log_loss": log_loss(labels, fake, labels=[0, 1]),
        "brier_score": brier_score_loss(labels, fake, pos_label=1, labels=[0, 1]),
        "balanced_accuracy": math.nan,
        **dict.fromkeys(OF_ORDER, math.nan),
    }
    if len(set(labels)) == 2:
        expected["balanced_accuracy"] = balanced_accuracy_score(labels, called)
    if len(set(labels)) == 2 and len(set(logits)) > 1:
        expected["roc_auc"] = roc_auc_score(labels, logits)
        expected["average_precision"] = average_precision_score(labels, logits)
        false_positives, hits, _ = roc_curve(labels, logits)
        # a curve that rises straight up has many values at one place, between which this decides
        along = np.arange(len(hits))
        place = brentq(
            lambda at: np.interp(at, along, false_positives) - 1 + np.interp(at, along, hits),
            0, len(hits) - 1, xtol=1e-12,
        )  # fmt: skip
        expected["equal_error_rate"] = np.interp(place, along, false_positives)
    expected = {(name, None): value for name, value in expected.items()}
    of_classes = precision_recall_fscore_support(
        labels, called, labels=[0, 1], zero_division=math.nan
    )
    for name, values in zip(("precision", "recall", "f1"), of_classes, strict=False):
        expected |= {(name, "real"): values[0], (name, "fake"): values[1]}
    found = _measure(_table(labels, logits), temperature=temperature)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-9, nan_ok=True), key


def test_log_loss_is_finite_however_sure_a_detector_is_and_wrong():
    found = _measure(_table([1, 0], [-5000.0, 5000.0]))
    assert found["log_loss", None] == 5000
    assert found["brier_score", None] == 1


@settings(deadline=None)
@given(predictions)
def test_an_interval_lies_in_0_to_1_and_around_its_value(drawn):
    for metric in _rows(_table(*_arrays(drawn))):
        if not math.isnan(metric.low):
            assert 0 <= metric.low <= metric.value + 1e-9, metric
            assert metric.value - 1e-9 <= metric.high, metric
            assert metric.high <= 1 or metric.metric == "log_loss"


def test_what_has_no_interval_says_why():
    generator = np.random.default_rng(0)
    for metric in _rows(_table(generator.integers(0, 2, 60), generator.normal(size=60))):
        assert metric.metric in COUNTS or not math.isnan(metric.low) or metric.note


def test_a_perfect_balance_is_no_surer_than_its_smaller_class():
    def low(fakes):
        table = _table([0] * 15 + [1] * fakes, [-1.0] * 15 + [1.0] * fakes)
        return {m.metric: m.low for m in _rows(table)}["balanced_accuracy"]

    # of 5 groups of real ones and many of fakes nothing is known as if there were 205 groups
    assert low(600) < 0.7
    assert low(600) == pytest.approx(low(300), abs=0.01)


@settings(deadline=None)
@given(predictions, st.integers(0, 99))
def test_the_order_of_rows_makes_no_difference(drawn, seed):
    table = _table(*_arrays(drawn))
    mixed = table.sample(frac=1, random_state=seed)
    assert _measure(mixed) == pytest.approx(_measure(table), nan_ok=True)


@pytest.mark.parametrize(
    ("labels", "logits", "of_class"),
    [
        ([1, 1], [1.0, -1.0], ("recall", "real")),
        ([0, 0], [1.0, -1.0], ("recall", "fake")),
        ([0, 1], [1.0, 1.0], ("precision", "real")),
    ],
)
def test_what_is_undefined_says_why(labels, logits, of_class):
    rows = {(m.metric, m.class_name): m for m in _rows(_table(labels, logits))}
    one_class = ["balanced_accuracy"] if len(set(labels)) == 1 else []
    for name in (*OF_ORDER, *one_class):
        assert math.isnan(rows[name, None].value)
        assert rows[name, None].note
    assert math.isnan(rows[of_class].value)
    assert of_class[1] in rows[of_class].note


def test_recall_is_given_for_each_kind_of_fake():
    found = _measure(_table([1] * 7 + [0], [1, 1, 1, -1, -1, -1, 1, -1]))
    assert found["recall_of_kind", "fake_a"] == 3 / 4
    assert found["recall_of_kind", "fake_b"] == 1 / 3


@settings(deadline=None)
@given(predictions)
def test_the_area_of_a_kind_is_that_of_its_fakes_and_all_real_ones(drawn):
    table = _table(*_arrays(drawn))
    rows = {(m.metric, m.class_name): m for m in _rows(table)}
    kinds = sorted(set(table.loc[table["label"] == 1, "class_name"]))
    for kind in kinds:
        among = table[(table["label"] == 0) | (table["class_name"] == kind)]
        found = rows["roc_auc_of_kind", kind]
        assert found.n == len(among)
        if among["label"].nunique() == 2 and among["logit"].nunique() > 1:
            assert found.value == pytest.approx(roc_auc_score(among["label"], among["logit"]))
        else:
            assert math.isnan(found.value)
            assert found.note
    for metric in ("roc_auc", "recall"):
        values = [rows[f"{metric}_of_kind", kind].value for kind in kinds]
        mean = rows.get((f"mean_{metric}_of_kinds", None))
        assert (mean is None) == (len(kinds) < 2)
        if mean:
            assert mean.value == pytest.approx(np.mean(values), nan_ok=True)


def test_the_interval_of_one_kind_alone_is_that_of_all_fakes_and_of_two_alike_no_wider():
    generator = np.random.default_rng(1)
    labels = np.arange(240) // 3 % 2
    table = _table(labels, generator.normal(1.5 * labels - 0.75))
    one = table.assign(class_name=np.where(labels == 1, "fake_a", "real"))
    rows = {(m.metric, m.class_name): m for m in _rows(one)}
    for name in ("value", "low", "high", "n"):
        assert getattr(rows["roc_auc_of_kind", "fake_a"], name) == getattr(
            rows["roc_auc", None], name
        )
    rows = {(m.metric, m.class_name): m for m in _rows(table)}
    mean = rows["mean_roc_auc_of_kinds", None]
    kinds = [rows["roc_auc_of_kind", f"fake_{kind}"] for kind in "ab"]
    assert mean.high - mean.low < max(each.high - each.low for each in kinds)
    assert mean.low < mean.value < mean.high


def test_one_video_faked_in_several_ways_is_several_sources():
    classes = ["deepfake", "face2face", "real"]
    predictions = pd.DataFrame({"class_name": classes * 2, "logit": [-1.0] * 3 + [4.0] * 3})
    predictions["label"] = (predictions["class_name"] != "real").astype(int)
    predictions["source"] = predictions["class_name"] + "/video_7"
    predictions = predictions.assign(subset="test", group="video_7")
    sources = score_sources(predictions, 0.5, 1.0, SourceScore())
    assert sorted(sources["class_name"]) == classes
    assert sources["logit"].tolist() == [1.5] * 3
    assert sources["fake_probability"].to_numpy() == pytest.approx(expit(1.5))
    assert sources["predicted"].tolist() == [1, 1, 1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.just(0.0) | st.floats(-30, 30)), min_size=1, max_size=400
    )
)
def test_bins_of_reliability_are_quantiles_that_hold_every_image_once(drawn):
    scored = _table(*_arrays(drawn))
    found = bin_reliability(scored, 0.95)
    assert found["images"].sum() == len(scored)
    assert len(found) <= 8
    assert (found["lower"].iloc[1:].to_numpy() > found["upper"].iloc[:-1].to_numpy()).all()
    for each in found.itertuples():
        part = scored[scored["fake_probability"].between(each.lower, each.upper)]
        assert len(part) == each.images
        assert part["label"].mean() == pytest.approx(each.share_of_fakes)
    known = found.dropna(subset=["low"])
    assert (known["low"] <= known["share_of_fakes"] + 1e-9).all()
    assert (known["high"] >= known["share_of_fakes"] - 1e-9).all()


@pytest.mark.parametrize(("images", "bins"), [(50, 5), (180, 6), (2400, 8)])
def test_bins_of_reliability_hold_about_as_many_images_each(images, bins):
    found = bin_reliability(_table([0, 1] * (images // 2), np.linspace(0.1, 0.9, images)), 0.95)
    assert len(found) == bins
    assert found["images"].max() - found["images"].min() <= 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.just(0.0) | st.floats(-30, 30)), min_size=1, max_size=40
    ),
    st.integers(1, 20),
)
def test_calibration_error_is_that_of_scikit_learns_bins(drawn, bins):
    scored = _table(*_arrays(drawn))
    shares, means = calibration_curve(scored["label"], scored["fake_probability"], n_bins=bins)
    places = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], scored["fake_probability"])
    images = np.unique(places, return_counts=True)[1]
    error = (abs(means - shares) * images).sum() / len(scored)
    measured = _measure(scored, calibration_bins=bins)["expected_calibration_error", None]
    assert measured == pytest.approx(error, abs=1e-9)


def test_images_of_one_group_count_as_one_observation():
    apart = _table([0, 1] * 50, [0.3] * 100).assign(group=range(100))
    groups = apart["group"], apart["group"] // 10, 0
    narrow, wide, none = (
        bin_reliability(apart.assign(group=each), 0.95).iloc[0] for each in groups
    )
    assert np.isnan(none["low"])
    # five of ten in each group are fakes: nothing varies between groups, ten of which are known
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]
