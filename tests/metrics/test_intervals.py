"""Intervals hold the truth as often as they say, for images that come in groups."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.special import expit
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from deepfake_detection.metrics.intervals import (
    average_precision_influence,
    balanced_accuracy_influence,
    interval,
    positive_interval,
    roc_auc_influence,
    share_influence,
)
from deepfake_detection.metrics.metrics import measure

OPTIONS = {"confidence": 0.95, "calibration_bins": 10, "temperature": 1.0}


def _share(right, groups):
    influence = share_influence(right.astype(float), np.ones(len(right)))
    return right.mean(), interval(float(right.mean()), influence, groups, 0.95)


def _wilson(right):
    return binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")


@pytest.mark.parametrize("share", [0.9, 0.99])
def test_a_share_lies_in_its_interval_as_often_as_is_said(share):
    generator = np.random.default_rng(0)
    inside = naive = 0
    for _ in range(600):
        # alike within a group of five; beta-binomial
        chances = generator.beta(share * 0.7, (1 - share) * 0.7, 480)
        right = (generator.random((480, 5)) < chances[:, None]).ravel()
        _, (low, high) = _share(right, np.arange(2400) // 5)
        inside += low <= share <= high
        ends = _wilson(right)
        naive += ends.low <= share <= ends.high
    assert 0.92 <= inside / 600 <= 0.98
    # as if images of one group were independent
    assert naive / 600 < 0.85


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40))
def test_only_of_several_groups_is_an_interval_known(drawn):
    right, groups = (np.array(each) for each in zip(*drawn, strict=True))
    _, (low, high) = _share(right, groups)
    known = len(set(groups)) > 1
    assert (low < high) == known
    assert np.isnan([low, high]).all() == (not known)


def test_each_image_its_own_group_is_about_wilsons_interval():
    right = np.arange(1000) % 10 != 0
    _, ends = _share(right, np.arange(1000))
    assert ends == pytest.approx(tuple(_wilson(right)), abs=5e-4)


def test_groups_that_are_equal_by_chance_are_not_surer_than_independent_images():
    groups = np.repeat(np.arange(100), 5)
    # one error in each of 99 groups
    right = np.arange(500) % 5 != 0
    right[495] = True
    value, (low, high) = _share(right, groups)
    expected = _wilson(right)
    assert value - low >= 0.99 * (value - expected.low)
    assert high - value >= 0.99 * (expected.high - value)


def test_copies_of_a_group_s_images_add_no_certainty():
    generator = np.random.default_rng(2)
    right = generator.random(60) < 0.8
    _, once = _share(right, np.arange(60))
    _, five_times = _share(right.repeat(5), np.arange(60).repeat(5))
    assert five_times == pytest.approx(once)


def test_without_an_error_the_number_of_groups_says_how_sure_it_is():
    _, (few, top) = _share(np.ones(50, bool), np.repeat(np.arange(10), 5))
    _, (many, _) = _share(np.ones(500, bool), np.repeat(np.arange(100), 5))
    assert top == 1
    assert few < 0.8 < many < 1


labelled_scores = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=4, max_size=30
).filter(lambda drawn: len({label for label, _ in drawn}) == 2)


@settings(deadline=None, max_examples=50)
@given(labelled_scores, st.integers(0, 2**32 - 1))
def test_influences_are_the_derivatives_with_respect_to_weights(drawn, seed):
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


def test_a_variance_that_few_groups_make_widens_an_interval():
    many, few = np.tile([0.1, -0.1], 50), np.zeros(100)
    few[:2] = [1 / math.sqrt(2), -1 / math.sqrt(2)]
    assert (many**2).sum() == pytest.approx((few**2).sum())
    (_, plain), (_, wide) = (
        interval(0.5, each / 100, np.arange(100), 0.95, counted=False) for each in (many, few)
    )
    assert wide - 0.5 > 1.2 * (plain - 0.5)


@pytest.mark.parametrize(
    ("value", "influence", "groups"), [(0.7, 0, range(10)), (0.7, 1, [0] * 10), (0, 0, range(10))]
)
def test_a_log_loss_without_variation_or_of_nothing_has_no_interval(value, influence, groups):
    ends = positive_interval(value, np.full(10, float(influence)), np.array(groups), 0.95)
    assert np.isnan(ends).all()


def test_the_interval_of_a_log_loss_stays_above_0():
    losses = np.array([1e-6] * 9 + [2.0])
    influence = share_influence(losses, np.ones(10))
    low, high = positive_interval(float(losses.mean()), influence, np.arange(10), 0.95)
    assert 0 < low < losses.mean() < high < math.inf


class _Study:
    """Data sets of scored sources of five images, much alike, of a known accuracy.

    Scores are ±margin + N(0, 1/2) of the source + N(0, 1/2) of the image; half of the sources fake.
    """

    def __init__(self, accuracy, groups):
        self.number = groups
        self.labels = np.repeat(np.arange(groups) % 2, 5)
        self.generator = np.random.default_rng(0)
        # the variance of a score is 1, so its chance to stand on the right side is Φ(margin)
        self.margin = float(norm.ppf(accuracy))

    def draw(self):
        between = self.generator.normal(size=(self.number, 1)).repeat(5, axis=1)
        within = self.generator.normal(size=(self.number, 5))
        noise = ((between + within) / math.sqrt(2)).ravel()
        return noise + np.where(self.labels == 1, self.margin, -self.margin)

    def truths(self):
        """What each metric is of all images there could be."""
        grid = np.linspace(-9, 9, 40001)
        density = norm.pdf(grid)
        shifted = grid + self.margin
        # precision above the score of each fake, of as many real ones as fakes
        found = norm.sf(grid)
        called = found + norm.sf(grid + 2 * self.margin)
        accuracies = ("accuracy", None), ("recall", "fake"), ("recall", "real")
        return dict.fromkeys((*accuracies, ("balanced_accuracy", None)), norm.cdf(self.margin)) | {
            ("roc_auc", None): norm.cdf(2 * self.margin / math.sqrt(2)),
            ("brier_score", None): trapezoid(density * (1 - expit(2 * shifted)) ** 2, grid),
            ("log_loss", None): trapezoid(density * np.logaddexp(0, -2 * shifted), grid),
            ("average_precision", None): trapezoid(density * found / called, grid),
        }

    def coverage(self, times, *, grouped):
        """How often each metric's interval holds the truth, in [0, 1]."""
        truths = self.truths()
        inside = dict.fromkeys(truths, 0)
        number = np.arange(len(self.labels))
        table = pd.DataFrame(
            {
                "class_name": np.where(self.labels, "fake", "real"), "label": self.labels,
                "group": number // 5 if grouped else number,
            }
        )  # fmt: skip
        for _ in range(times):
            scores = self.draw()
            scored = table.assign(logit=2 * scores, predicted=(scores >= 0).astype(int))
            for metric in measure(scored, "test", "image", **OPTIONS):
                name = metric.metric, metric.class_name
                if name in truths:
                    inside[name] += metric.low <= truths[name] <= metric.high
        return {name: count / times for name, count in inside.items()}


def test_each_metric_lies_in_its_interval_as_often_as_is_said():
    for name, share in _Study(0.9, 240).coverage(200, grouped=True).items():
        # 200 data sets tell a share of 0.95 to ± 0.046, three times its standard error
        assert 0.904 <= share <= 0.995, name


@pytest.mark.slow
@pytest.mark.parametrize("accuracy", [0.9, 0.99])
@pytest.mark.parametrize("groups", [480, 120])
def test_study_intervals_hold_the_truth(groups, accuracy):
    """Run with -s to see the figures."""
    of_groups = _Study(accuracy, groups).coverage(2000, grouped=True)
    of_images = _Study(accuracy, groups).coverage(2000, grouped=False)
    print(f"\n{groups} groups of five images, accuracy {accuracy}, 2,000 data sets:")
    for name in of_groups:
        print(f"  {name!s:20} between groups {of_groups[name]:.4f}   images {of_images[name]:.4f}")
        if groups == 480 and name[0] in ("accuracy", "recall", "roc_auc", "brier_score"):
            assert 0.93 <= of_groups[name] <= 0.97, name
            assert of_images[name] < 0.93, name
