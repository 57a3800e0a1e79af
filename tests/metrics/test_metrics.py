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
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    log_loss,
    roc_curve,
)

from deepfake_detection.metrics.metrics import (
    COUNTS,
    Metric,
    average_over_sources,
    bin_reliability,
    expected_calibration_error,
    measure,
)

BINS = 10

Key = tuple[str, str | None]


def _table(labels: list[int], logits: list[float]) -> pd.DataFrame:
    kinds = [("real", ("fake_a", "fake_b")[i % 2])[label] for i, label in enumerate(labels)]
    return pd.DataFrame(
        {
            "class_name": kinds,
            "label": labels,
            "group": [f"group {i // 3}" for i in range(len(labels))],
            "logit": np.array(logits, dtype=float),
            "predicted": [int(logit >= 0) for logit in logits],
        }
    )


def _rows(table: pd.DataFrame, temperature: float = 1.0, level: str = "image") -> list[Metric]:
    return list(
        measure(
            table, "test", level, confidence=0.95, calibration_bins=BINS, temperature=temperature
        )
    )


def _measure(table: pd.DataFrame, temperature: float = 1.0) -> dict[Key, float]:
    return {(m.metric, m.class_name): m.value for m in _rows(table, temperature)}


predictions = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-6, 6).map(lambda value: value / 2)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(predictions)
def test_metrics_agree_with_counting(drawn: list[tuple[int, float]]) -> None:
    labels, logits = map(list, zip(*drawn, strict=True))
    found = _measure(_table(labels, logits))
    called = [int(logit >= 0) for logit in logits]
    pairs = list(zip(labels, called, strict=True))

    def share(part: int, whole: int) -> float:
        return part / whole if whole else math.nan

    expected: dict[Key, float] = {
        ("accuracy", None): share(sum(a == b for a, b in pairs), len(pairs)),
        ("false_negatives", None): pairs.count((1, 0)),
        ("false_positives", None): pairs.count((0, 1)),
        ("true_positives", None): pairs.count((1, 1)),
        ("true_negatives", None): pairs.count((0, 0)),
    }
    for number, name in ((1, "fake"), (0, "real")):
        right = pairs.count((number, number))
        there, said = labels.count(number), called.count(number)
        expected["precision", name] = share(right, said)
        expected["recall", name] = share(right, there)
        expected["f1", name] = share(2 * right, there + said)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, nan_ok=True), key


@settings(deadline=None)
@given(predictions)
def test_roc_auc_is_the_share_of_pairs_in_the_right_order(drawn: list[tuple[int, float]]) -> None:
    labels, logits = map(list, zip(*drawn, strict=True))
    fakes = [logit for label, logit in drawn if label == 1]
    reals = [logit for label, logit in drawn if label == 0]
    found = _measure(_table(labels, logits))["roc_auc", None]
    if not fakes or not reals or len(set(logits)) == 1:
        assert math.isnan(found)
    else:
        wins = [(f > r) + (f == r) / 2 for f in fakes for r in reals]
        assert found == pytest.approx(sum(wins) / len(wins))


@settings(deadline=None)
@given(predictions, st.sampled_from([0.3, 1.0, 4.0]))
def test_metrics_of_probabilities_agree_with_scikit_learn(
    drawn: list[tuple[int, float]], temperature: float
) -> None:
    labels, logits = (np.array(each) for each in zip(*drawn, strict=True))
    found = _measure(_table(labels.tolist(), logits.tolist()), temperature)
    fake = expit(logits / temperature)
    assert found["log_loss", None] == pytest.approx(log_loss(labels, fake, labels=[0, 1]))
    assert found["brier_score", None] == pytest.approx(
        brier_score_loss(labels, fake, pos_label=1, labels=[0, 1])
    )


@settings(deadline=None)
@given(predictions)
def test_metrics_of_order_agree_with_scikit_learn(drawn: list[tuple[int, float]]) -> None:
    labels, logits = (np.array(each) for each in zip(*drawn, strict=True))
    found = _measure(_table(labels.tolist(), logits.tolist()))
    if len(set(labels)) < 2:
        assert math.isnan(found["balanced_accuracy", None])
        assert math.isnan(found["average_precision", None])
        assert math.isnan(found["equal_error_rate", None])
        return
    assert found["balanced_accuracy", None] == pytest.approx(
        balanced_accuracy_score(labels, logits >= 0)
    )
    if len(set(logits)) == 1:
        assert math.isnan(found["average_precision", None])
        assert math.isnan(found["equal_error_rate", None])
        return
    assert found["average_precision", None] == pytest.approx(
        average_precision_score(labels, logits)
    )
    false_positives, hits, _ = roc_curve(labels, logits)
    # a curve that rises straight up has many values at one place, between which this decides
    along = np.arange(len(hits))
    place = brentq(
        lambda at: np.interp(at, along, false_positives) - 1 + np.interp(at, along, hits),
        0, len(hits) - 1, xtol=1e-12,
    )  # fmt: skip
    assert found["equal_error_rate", None] == pytest.approx(
        np.interp(place, along, false_positives), abs=1e-9
    )


@settings(deadline=None)
@given(predictions)
def test_the_calibration_error_agrees_with_bins_filled_one_by_one(
    drawn: list[tuple[int, float]],
) -> None:
    labels, logits = (np.array(each) for each in zip(*drawn, strict=True))
    found = _measure(_table(labels.tolist(), logits.tolist()))["expected_calibration_error", None]
    fake, expected = expit(logits), 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = (fake > low if number else fake >= low) & (fake <= high)
        if inside.any():
            expected += inside.mean() * abs(fake[inside].mean() - labels[inside].mean())
    assert found == pytest.approx(expected)


def test_log_loss_is_finite_however_sure_a_detector_is_and_wrong() -> None:
    found = _measure(_table([1, 0], [-5000.0, 5000.0]))
    assert found["log_loss", None] == 5000
    assert found["brier_score", None] == 1


@settings(deadline=None)
@given(predictions)
def test_an_interval_lies_around_its_value(drawn: list[tuple[int, float]]) -> None:
    for metric in _rows(_table(*map(list, zip(*drawn, strict=True)))):
        if not math.isnan(metric.low):
            assert 0 <= metric.low <= metric.value + 1e-9, metric
            assert metric.value - 1e-9 <= metric.high, metric
            assert metric.high <= 1 or metric.metric == "log_loss"


def test_what_has_no_interval_says_why() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 60).tolist()
    for metric in _rows(_table(labels, generator.normal(size=60).tolist())):
        counted = metric.metric in COUNTS
        assert counted or not math.isnan(metric.low) or "no interval" in (metric.note or "")


def test_a_perfect_balance_is_no_surer_than_its_smaller_class() -> None:
    def low(fakes: int) -> float:
        table = _table([0] * 15 + [1] * fakes, [-1.0] * 15 + [1.0] * fakes)
        return {m.metric: m.low for m in _rows(table)}["balanced_accuracy"]

    # of 5 groups of real ones and many of fakes nothing is known as if there were 205 groups
    assert low(600) < 0.7
    assert low(600) == pytest.approx(low(300), abs=0.01)


@settings(deadline=None)
@given(predictions, st.randoms(use_true_random=False))
def test_the_order_of_rows_makes_no_difference(drawn: list[tuple[int, float]], random) -> None:
    table = _table(*map(list, zip(*drawn, strict=True)))
    order = list(range(len(table)))
    random.shuffle(order)
    assert _measure(table.iloc[order]) == pytest.approx(_measure(table), nan_ok=True)


OF_ORDER = [("roc_auc", None), ("average_precision", None), ("equal_error_rate", None)]


@pytest.mark.parametrize(
    ("labels", "logits", "of_both", "of_class"),
    [
        ([1, 1], [1.0, -1.0], "all are fake", ("recall", "real")),
        ([0, 0], [1.0, -1.0], "all are real", ("recall", "fake")),
        ([0, 1], [1.0, 1.0], "equal", ("precision", "real")),
    ],
)
def test_what_is_undefined_says_why(labels, logits, of_both, of_class) -> None:
    rows = {(m.metric, m.class_name): m for m in _rows(_table(labels, logits))}
    one_class = [("balanced_accuracy", None)] if len(set(labels)) == 1 else []
    for key in (*OF_ORDER, *one_class, of_class):
        assert math.isnan(rows[key].value)
        assert (of_class[1] if key == of_class else of_both) in (rows[key].note or "")


def test_recall_is_given_for_each_kind_of_fake() -> None:
    table = pd.DataFrame(
        {
            "class_name": ["deepfake"] * 4 + ["face2face"] * 2 + ["real"],
            "label": [1] * 6 + [0],
            "group": list("aabbccd"),
            "logit": [1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0],
            "predicted": [1, 1, 1, 0, 1, 0, 0],
        }
    )
    found = _measure(table)
    assert found["recall_of_kind", "deepfake"] == 0.75
    assert found["recall_of_kind", "face2face"] == 0.5


def test_one_video_faked_in_several_ways_is_several_sources() -> None:
    classes = ["real", "deepfake", "face2face"]
    predictions = pd.DataFrame(
        [
            {
                "class_name": name, "label": int(name != "real"), "source": f"{name}/video_7",
                "subset": "test", "logit": logit, "group": "video_7",
            }
            for name in classes
            for logit in (-1.0, 4.0)
        ]
    )  # fmt: skip
    sources = average_over_sources(predictions, threshold=0.5, temperature=1.0)
    assert sorted(sources["class_name"]) == sorted(classes)
    assert sources["logit"].tolist() == [1.5] * 3
    assert sources["fake_probability"].to_numpy() == pytest.approx(1 / (1 + math.exp(-1.5)))
    assert sources["predicted"].tolist() == [1, 1, 1]


def score(labels: list[int], logits: list[float]) -> pd.DataFrame:
    """Scored images, each its own group."""
    probabilities = expit(np.asarray(logits, dtype=np.float64))
    groups = range(len(labels))
    return pd.DataFrame({"label": labels, "fake_probability": probabilities, "group": groups})


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-30, 30)), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_bins_hold_every_image_once_and_make_the_calibration_error(scores, bins):
    scored = score(*map(list, zip(*scores, strict=True)))
    found = bin_reliability(scored, bins, 0.95)
    assert found["images"].sum() == len(scored)
    assert (found["images"] > 0).all()
    slack = 1e-9
    assert (found["mean_probability"] >= found["lower"] - slack).all()
    assert (found["mean_probability"] <= found["upper"] + slack).all()
    distance = (found["mean_probability"] - found["share_of_fakes"]).abs()
    error = (distance * found["images"]).sum() / len(scored)
    probabilities = scored["fake_probability"].to_numpy()
    expected = expected_calibration_error(scored["label"].to_numpy(), probabilities, bins)
    assert error == pytest.approx(expected, abs=1e-9)
    known = found.dropna(subset=["low"])
    assert (known["low"] <= known["share_of_fakes"] + slack).all()
    assert (known["high"] >= known["share_of_fakes"] - slack).all()


def test_bins_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 500)
    scored = score(list(labels), list(generator.normal(labels * 2 - 1, 1.2)))
    found = bin_reliability(scored, 10, 0.95)
    shares, means = calibration_curve(scored["label"], scored["fake_probability"], n_bins=10)
    np.testing.assert_allclose(found["share_of_fakes"], shares)
    np.testing.assert_allclose(found["mean_probability"], means)


def test_images_of_one_group_count_as_one_observation():
    apart = score([0, 1] * 50, [0.3] * 100)
    together = apart.assign(group=apart["group"] // 10)
    narrow, wide, none = (
        bin_reliability(each, 1, 0.95).iloc[0] for each in (apart, together, apart.assign(group=0))
    )
    assert np.isnan(none["low"])
    # five of ten in each group are fakes: nothing varies between groups, ten of which are known
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]
