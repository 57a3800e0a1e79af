"""Metrics against independent computations, on random and on degenerate predictions."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_detection.pipelines.evaluation.metrics import average_over_sources, measure

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


def _measure(table: pd.DataFrame) -> dict[Key, float]:
    return {(m.metric, m.class_name): m.value for m in measure(table, "test", "image", 0.95)}


predictions = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-6, 6).map(lambda value: value / 2)),
    min_size=1,
    max_size=60,
)


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
        ("missed_fakes", None): pairs.count((1, 0)),
        ("false_alarms", None): pairs.count((0, 1)),
        ("fakes_found", None): pairs.count((1, 1)),
        ("reals_passed", None): pairs.count((0, 0)),
    }
    for number, name in ((1, "fake"), (0, "real")):
        right = pairs.count((number, number))
        there, said = labels.count(number), called.count(number)
        expected["precision", name] = share(right, said)
        expected["recall", name] = share(right, there)
        expected["f1", name] = share(2 * right, there + said)
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, nan_ok=True), key


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


def test_the_seeds_figures_are_those_of_real_as_the_positive_class() -> None:
    # 2,400 validation images, 30 errors: 19 of 800 real ones called fake, 11 fakes called real
    labels = [0] * 800 + [1] * 1600
    logits = [1.0] * 19 + [-1.0] * 781 + [-1.0] * 11 + [1.0] * 1589
    found = _measure(_table(labels, logits))
    assert found["accuracy", None] == pytest.approx(0.9875)
    assert found["recall", "real"] == pytest.approx(0.9763, abs=5e-5)
    assert found["precision", "real"] == pytest.approx(0.9861, abs=5e-5)
    assert found["recall", "fake"] == pytest.approx(0.993, abs=5e-4)
    assert found["precision", "fake"] == pytest.approx(0.988, abs=5e-4)
    assert found["missed_fakes", None] == 11
    assert found["false_alarms", None] == 19


@given(predictions, st.randoms(use_true_random=False))
def test_the_order_of_rows_makes_no_difference(drawn: list[tuple[int, float]], random) -> None:
    table = _table(*map(list, zip(*drawn, strict=True)))
    order = list(range(len(table)))
    random.shuffle(order)
    assert _measure(table.iloc[order]) == pytest.approx(_measure(table), nan_ok=True)


@pytest.mark.parametrize(
    ("labels", "logits", "undefined"),
    [
        ([1, 1], [1.0, -1.0], {("roc_auc", None): "all are fake", ("recall", "real"): "no real"}),
        ([0, 0], [1.0, -1.0], {("roc_auc", None): "all are real", ("recall", "fake"): "no fake"}),
        ([0, 1], [1.0, 1.0], {("roc_auc", None): "equal", ("precision", "real"): "called real"}),
    ],
)
def test_what_is_undefined_says_why(labels, logits, undefined) -> None:
    measured = measure(_table(labels, logits), "test", "image", 0.95)
    rows = {(m.metric, m.class_name): m for m in measured}
    for key, reason in undefined.items():
        assert math.isnan(rows[key].value)
        assert reason in (rows[key].note or "")


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
