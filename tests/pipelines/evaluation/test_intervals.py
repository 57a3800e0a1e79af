"""Intervals hold the truth as often as they say, for images that come in groups."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from deepfake_detection.pipelines.evaluation.intervals import (
    interval,
    roc_auc_influence,
    share_influence,
)

Array = np.ndarray


def _share(right: Array, groups: Array) -> tuple[float, tuple[float, float]]:
    influence = share_influence(right.astype(float), np.ones(len(right)))
    return right.mean(), interval(float(right.mean()), influence, groups, 0.95)


def _correlated(
    generator: np.random.Generator, share: float, groups: int, size: int = 5
) -> tuple[Array, Array]:
    """Right or wrong for images of groups, much alike within a group; beta-binomial."""
    chances = generator.beta(share * 0.7, (1 - share) * 0.7, groups)
    right = generator.random((groups, size)) < chances[:, None]
    return right.ravel(), np.repeat(np.arange(groups), size)


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_a_share_lies_in_its_interval_as_often_as_is_said(share: float) -> None:
    generator = np.random.default_rng(0)
    inside = naive = 0
    for _ in range(600):
        right, groups = _correlated(generator, share, 480)
        _, (low, high) = _share(right, groups)
        inside += low <= share <= high
        ends = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        naive += ends.low <= share <= ends.high
    assert 0.92 <= inside / 600 <= 0.98
    # as if images of one group were independent
    assert naive / 600 < 0.85


def test_the_area_under_roc_lies_in_its_interval_as_often_as_is_said() -> None:
    generator = np.random.default_rng(1)
    # scores of real ones N(0, 1 + 1), of fakes N(3, 1 + 1), half of the variance between groups
    truth = 0.9331928  # Φ(3 / √(2 · 2))
    inside = 0
    for _ in range(400):
        between = generator.normal(size=(120, 1)).repeat(5, axis=1)
        labels = np.repeat(np.arange(120) % 2, 5)
        scores = (between + generator.normal(size=(120, 5))).ravel() + 3 * labels
        influence = roc_auc_influence(labels, scores)
        area = float(roc_auc_score(labels, scores))
        low, high = interval(area, influence, np.repeat(np.arange(120), 5), 0.95)
        inside += low <= truth <= high
    assert 0.92 <= inside / 400 <= 0.98


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40))
def test_an_interval_lies_in_0_to_1_and_around_its_value(drawn: list[tuple[bool, int]]) -> None:
    right, groups = (np.array(each) for each in zip(*drawn, strict=True))
    value, (low, high) = _share(right, groups)
    if len(set(groups)) == 1:
        assert math.isnan(low)
        assert math.isnan(high)
    else:
        assert 0 <= low <= value + 1e-9
        assert value - 1e-9 <= high <= 1
        assert low < high


def test_each_image_its_own_group_is_about_wilsons_interval() -> None:
    right = np.arange(1000) % 10 != 0
    _, (low, high) = _share(right, np.arange(1000))
    expected = binomtest(900, 1000).proportion_ci(method="wilson")
    assert low == pytest.approx(expected.low, abs=5e-4)
    assert high == pytest.approx(expected.high, abs=5e-4)


def test_copies_of_a_group_s_images_add_no_certainty() -> None:
    generator = np.random.default_rng(2)
    right = generator.random(60) < 0.8
    _, once = _share(right, np.arange(60))
    _, five_times = _share(right.repeat(5), np.arange(60).repeat(5))
    assert five_times == pytest.approx(once)


def test_without_an_error_the_number_of_groups_says_how_sure_it_is() -> None:
    _, (few, top) = _share(np.ones(50, bool), np.repeat(np.arange(10), 5))
    _, (many, _) = _share(np.ones(500, bool), np.repeat(np.arange(100), 5))
    assert top == 1
    assert few < 0.8 < many < 1


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=4, max_size=30))
def test_influences_on_the_area_under_roc_sum_to_nothing(drawn: list[tuple[int, int]]) -> None:
    labels, scores = (np.array(each) for each in zip(*drawn, strict=True))
    if len(set(labels)) == 2:
        influence = roc_auc_influence(labels, scores.astype(float))
        assert influence.sum() == pytest.approx(0, abs=1e-9)
