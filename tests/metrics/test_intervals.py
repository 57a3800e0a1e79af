"""Intervals hold the truth as often as they say, for images that come in groups."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.special import expit
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from deepfake_detection.metrics.intervals import (
    area_interval,
    average_precision_influence,
    balanced_accuracy_influence,
    interval,
    positive_interval,
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


def test_groups_that_are_equal_by_chance_are_not_surer_than_independent_images() -> None:
    groups = np.repeat(np.arange(100), 5)
    # one error in each of 99 groups
    right = np.arange(500) % 5 != 0
    right[495] = True
    value, (low, high) = _share(right, groups)
    expected = binomtest(int(right.sum()), 500).proportion_ci(method="wilson")
    assert value - low >= 0.99 * (value - expected.low)
    assert high - value >= 0.99 * (expected.high - value)


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


labelled_scores = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=4, max_size=30
).filter(lambda drawn: len({label for label, _ in drawn}) == 2)


@settings(deadline=None, max_examples=50)
@given(labelled_scores, st.integers(0, 2**32 - 1))
def test_influences_are_the_derivatives_with_respect_to_weights(
    drawn: list[tuple[int, int]], seed: int
) -> None:
    labels, scores = (np.array(each) for each in zip(*drawn, strict=True))
    right = (scores >= 3) == (labels == 1)
    # weights that change in a direction of their own, as scikit-learn takes them
    step = 1e-5 * np.random.default_rng(seed).normal(size=len(labels))
    for metric, called, influence in (
        (balanced_accuracy_score, scores >= 3, balanced_accuracy_influence(labels, right * 1.0)),
        (average_precision_score, scores, average_precision_influence(labels, scores * 1.0)),
        (roc_auc_score, scores, roc_auc_influence(labels, scores * 1.0)),
    ):
        above, below = (metric(labels, called, sample_weight=1 + each) for each in (step, -step))
        assert influence @ step == pytest.approx((above - below) / 2, abs=1e-9)


def test_a_variance_that_few_groups_make_widens_an_interval() -> None:
    many, few = np.tile([0.1, -0.1], 50), np.zeros(100)
    few[:2] = [1 / math.sqrt(2), -1 / math.sqrt(2)]
    assert (many**2).sum() == pytest.approx((few**2).sum())
    (_, plain), (_, wide) = (
        interval(0.5, each / 100, np.arange(100), 0.95, counted=False) for each in (many, few)
    )
    assert wide - 0.5 > 1.2 * (plain - 0.5)


@given(st.floats(0, 1), st.lists(st.floats(-1, 1), min_size=2, max_size=20))
def test_the_interval_of_an_area_lies_in_0_to_1_and_around_it(
    value: float, drawn: list[float]
) -> None:
    influence = np.array(drawn)
    low, high = area_interval(value, influence - influence.mean(), np.arange(len(drawn)), 0.95)
    assert 0 <= low <= value + 1e-9
    assert value - 1e-9 <= high <= 1


def test_a_log_loss_without_variation_or_of_nothing_has_no_interval() -> None:
    ones = np.ones(10)
    assert math.isnan(positive_interval(0.7, ones * 0, np.arange(10), 0.95)[0])
    assert math.isnan(positive_interval(0.7, ones, np.zeros(10), 0.95)[0])
    assert math.isnan(positive_interval(0.0, ones * 0, np.arange(10), 0.95)[0])


def test_the_interval_of_a_log_loss_stays_above_0() -> None:
    losses = np.array([1e-6] * 9 + [2.0])
    influence = share_influence(losses, np.ones(10))
    low, high = positive_interval(float(losses.mean()), influence, np.arange(10), 0.95)
    assert 0 < low < losses.mean() < high < math.inf


class _Study:
    """Data sets of scored sources of five images, much alike, of a known accuracy.

    Scores are ±margin + N(0, 1/2) of the source + N(0, 1/2) of the image; half of the sources fake.
    """

    def __init__(self, accuracy: float, groups: int, seed: int = 0) -> None:
        self.groups = np.repeat(np.arange(groups), 5)
        self.labels = np.repeat(np.arange(groups) % 2, 5)
        self._generator = np.random.default_rng(seed)
        # the variance of a score is 1, so its chance to stand on the right side is Φ(margin)
        self._margin = float(norm.ppf(accuracy))
        self._number = groups

    def draw(self) -> Array:
        between = self._generator.normal(size=(self._number, 1)).repeat(5, axis=1)
        within = self._generator.normal(size=(self._number, 5))
        noise = ((between + within) / math.sqrt(2)).ravel()
        return noise + np.where(self.labels == 1, self._margin, -self._margin)

    def truths(self) -> dict[str, float]:
        """What each metric is of all images there could be."""
        accuracy = float(norm.cdf(self._margin))
        grid = np.linspace(-9, 9, 40001)
        density = norm.pdf(grid)
        shifted = grid + self._margin
        return {
            "accuracy": accuracy,
            "recall of fakes": accuracy,
            "recall of real ones": accuracy,
            "balanced accuracy": accuracy,
            "ROC AUC": float(norm.cdf(2 * self._margin / math.sqrt(2))),
            "Brier score": float(trapezoid(density * (1 - expit(2 * shifted)) ** 2, grid)),
            "log loss": float(trapezoid(density * np.logaddexp(0, -2 * shifted), grid)),
            "average precision": self._average_precision(grid, density),
        }

    def _average_precision(self, grid: Array, density: Array) -> float:
        # precision above the score of each fake, of as many real ones as fakes
        found = norm.sf(grid)
        called = found + norm.sf(grid + 2 * self._margin)
        return float(trapezoid(density * found / called, grid))

    def intervals(self, scores: Array, groups: Array) -> dict[str, tuple[float, float]]:
        labels, fake = self.labels, expit(2 * scores)
        right = ((scores >= 0) == (labels == 1)).astype(float)
        ones = np.ones(len(labels))
        squares = (fake - labels) ** 2
        losses = np.logaddexp(0, np.where(labels == 1, -2 * scores, 2 * scores))
        smaller = len(set(groups)) // 2

        def of_class(label: int) -> tuple[float, float]:
            there = labels == label
            influence = share_influence(right[there], ones[there])
            return interval(float(right[there].mean()), influence, groups[there], 0.95)

        def of_mean(values: Array, *, counted: bool) -> tuple[float, float]:
            influence = share_influence(values, ones)
            return interval(float(values.mean()), influence, groups, 0.95, counted=counted)

        def of_area(value: float, influence: Array) -> tuple[float, float]:
            return area_interval(value, influence, groups, 0.95, known_by=smaller)

        area, precision = (
            float(metric(labels, scores)) for metric in (roc_auc_score, average_precision_score)
        )
        balanced = balanced_accuracy_influence(labels, right)
        return {
            "accuracy": of_mean(right, counted=True),
            "recall of fakes": of_class(1),
            "recall of real ones": of_class(0),
            "balanced accuracy": interval(
                float(right.mean()), balanced, groups, 0.95, known_by=smaller
            ),
            "ROC AUC": of_area(area, roc_auc_influence(labels, scores)),
            "average precision": of_area(precision, average_precision_influence(labels, scores)),
            "Brier score": of_mean(squares, counted=False),
            "log loss": positive_interval(
                float(losses.mean()), share_influence(losses, ones), groups, 0.95
            ),
        }

    def coverage(self, times: int, *, grouped: bool) -> dict[str, float]:
        """How often each metric's interval holds the truth, in [0, 1]."""
        truths = self.truths()
        inside = dict.fromkeys(truths, 0)
        groups = self.groups if grouped else np.arange(len(self.labels))
        for _ in range(times):
            for name, (low, high) in self.intervals(self.draw(), groups).items():
                inside[name] += low <= truths[name] <= high
        return {name: count / times for name, count in inside.items()}


def test_each_metric_lies_in_its_interval_as_often_as_is_said() -> None:
    for name, share in _Study(0.9, 240).coverage(200, grouped=True).items():
        # 200 data sets tell a share of 0.95 to ± 0.046, three times its standard error
        assert 0.904 <= share <= 0.995, name


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [0.9, 0.99])
@pytest.mark.parametrize("groups", [480, 120])
def test_study_intervals_hold_the_truth(groups: int, accuracy: float) -> None:
    """Run with -s to see the figures."""
    of_groups = _Study(accuracy, groups).coverage(2000, grouped=True)
    of_images = _Study(accuracy, groups).coverage(2000, grouped=False)
    print(f"\n{groups} groups of five images, accuracy {accuracy}, 2,000 data sets:")
    for name in of_groups:
        print(f"  {name:20} between groups {of_groups[name]:.4f}   images {of_images[name]:.4f}")
    if groups == 480:
        for name in (
            "accuracy", "recall of fakes", "recall of real ones", "ROC AUC", "Brier score",
        ):  # fmt: skip
            assert 0.93 <= of_groups[name] <= 0.97, name
            assert of_images[name] < 0.93, name
