"""Sure verdicts keep their error rate, on validation always and on new images on average."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from deepfake_detection.metrics.unsure_interval import choose_unsure_interval

RATES = (0.02, 0.05, 0.1, 0.3)
images = st.lists(
    st.tuples(st.integers(0, 1), st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=60
)


def _errors(probabilities, labels, groups, ends):
    """In each class, the weighted shares of sure verdicts and of wrong ones, groups counting 1."""
    low, high = ends
    for label in (0, 1):
        of_class = labels == label
        weights = np.array([1 / (groups[of_class] == each).sum() for each in groups[of_class]])
        called_fake, called_real = probabilities[of_class] >= high, probabilities[of_class] < low
        wrong = called_fake if label == 0 else called_real
        yield (weights * (called_fake | called_real)).sum(), (weights * wrong).sum()


@given(images, st.sampled_from(RATES), st.floats(0, 1))
def test_sure_verdicts_keep_the_error_rate_on_validation_in_both_classes(drawn, rate, threshold):
    labels, probabilities, groups = (np.array(column) for column in zip(*drawn, strict=True))
    found = choose_unsure_interval(probabilities, labels, groups, threshold, rate)
    if found.ends is None:
        assert len(set(labels)) == 1
        assert found.note
        return
    low, high = found.ends
    assert low <= threshold <= high
    answers = [*_errors(probabilities, labels, groups, found.ends)]
    for sure, wrong in answers:
        assert wrong <= rate * sure + 1e-6
    if not any(sure for sure, _ in answers):
        assert found.note


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_the_promise_holds_for_new_groups(rate):
    """The mean over many validation sets of the error of each, on as many new images."""
    random = np.random.default_rng(3)

    def draw(count):
        labels = np.repeat([0, 1], 4 * count)
        groups = np.repeat(np.arange(2 * count), 4)
        logits = random.normal(0, 1, 2 * count)[groups] + random.normal(0, 0.7, len(groups))
        return expit(logits + 3 * (labels - 0.5)), labels, groups

    errors, answers = [], []
    for _ in range(40):
        found = choose_unsure_interval(*draw(150), 0.5, rate)
        assert found.ends is not None
        assert found.note is None
        parts = [*_errors(*draw(300), found.ends)]
        errors.append([wrong / sure for sure, wrong in parts])
        answers.append(sum(sure for sure, _ in parts) / 600)
    assert np.mean(errors, axis=0).max() <= rate * 1.1
    # far more errors without the interval, and still most images have an answer
    assert np.mean(answers) > 0.5


def test_a_detector_that_errs_rarely_is_never_unsure():
    labels = np.repeat([0, 1], 100)
    probabilities = np.where(labels == 1, 0.9, 0.1)
    found = choose_unsure_interval(probabilities, labels, np.arange(200), 0.5, 0.05)
    assert found.ends == (0.5, 0.5)
    assert found.note is None


def test_a_detector_that_knows_nothing_is_always_unsure():
    labels = np.tile([0, 1], 100)
    # also not by the few scores in which chance has parted the classes
    scores = np.random.default_rng(0).random(200)
    found = choose_unsure_interval(scores, labels, np.arange(200), 0.5, 0.05)
    assert found.ends == (0.0, math.nextafter(1, 2))
    assert found.note


def test_too_few_groups_promise_nothing_and_say_so():
    labels = np.repeat([0, 1], 10)
    probabilities = np.where(labels == 1, 0.9, 0.1)
    found = choose_unsure_interval(probabilities, labels, np.arange(20), 0.5, 0.05)
    assert found.ends == (0.5, 0.5)
    assert found.note
    enough = choose_unsure_interval(
        np.tile(probabilities, 2), np.tile(labels, 2), np.arange(40), 0.5, 0.05
    )
    assert enough.note is None


def test_without_a_rate_no_verdict_is_unsure():
    found = choose_unsure_interval(np.array([0.1, 0.9]), np.array([0, 1]), np.arange(2), 0.5, None)
    assert (found.ends, found.note) == (None, None)
