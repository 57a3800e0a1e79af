"""Thresholds do what they promise on validation; a temperature lowers its log loss."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import f1_score
from training_samples import make_calibration

from deepfake_detection.metrics.calibration import fit_temperature, fit_threshold

SCALING = make_calibration(temperature="scaling").temperature
scores = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.integers(-6, 6), st.floats(-60, 60))),
    min_size=1,
    max_size=60,
)


telling = scores.filter(
    lambda drawn: len({label for label, _ in drawn}) == 2 and np.ptp(expit(_arrays(drawn)[1])) > 0
)


def _arrays(drawn):
    labels, logits = zip(*drawn, strict=True)
    return np.array(labels), np.array(logits, dtype=float)


def _fit(drawn, rule, rate=0.1):
    """A threshold, and what is called fake at it and at each possible one."""
    labels, logits = _arrays(drawn)
    rules = make_calibration(rule, false_positive_rate=rate)
    fit = fit_threshold(logits, labels, rules.threshold)
    assert fit.fitted
    called = [expit(logits) >= each for each in (fit.value, *np.unique(expit(logits)), 2.0)]
    return fit, labels, called


def _rates(labels, called):
    """Shares of real ones called fake, and of fakes called real."""
    return [(each[labels == 0].mean(), (~each[labels == 1]).mean()) for each in called]


@given(telling, st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_a_false_positive_rate_is_kept_with_as_many_true_positives_as_it_admits(drawn, rate):
    fit, labels, called = _fit(drawn, "false_positive_rate", rate)
    (false_positives, misses), *possible = _rates(labels, called)
    assert false_positives <= rate
    assert misses == min(missed for alarms, missed in possible if alarms <= rate)
    assert (misses == 1) == (fit.note is not None)


@settings(deadline=None)
@given(telling)
def test_equal_errors_are_as_equal_as_can_be(drawn):
    _, labels, called = _fit(drawn, "equal_error")
    ours, *possible = (abs(alarms - missed) for alarms, missed in _rates(labels, called))
    assert ours == pytest.approx(min(possible), abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(telling)
def test_no_threshold_has_a_better_f1(drawn):
    _, labels, called = _fit(drawn, "best_f1")
    ours, *possible = (f1_score(labels, each, zero_division=0) for each in called)
    assert ours >= max(possible) - 1e-12


@pytest.mark.parametrize("rule", ["equal_error", "best_f1"])
def test_a_threshold_stands_halfway_between_the_scores_that_it_parts(rule):
    fit, _, _ = _fit([(0, -3.0), (0, -1.0), (1, 2.0), (1, 4.0)], rule)
    assert fit.value == pytest.approx(expit(0.5))
    assert fit.note is None


@given(scores)
def test_a_temperature_never_makes_validation_s_log_loss_worse(drawn):
    labels, logits = _arrays(drawn)
    fit = fit_temperature(logits, labels, SCALING)

    def loss(temperature):
        return float(np.logaddexp(0, np.where(labels == 1, -1, 1) * logits / temperature).mean())

    assert fit.value * (1 + 1e-12) >= 0.1
    assert fit.value <= 10 * (1 + 1e-12)
    # it is the least of all, not only below 1
    assert loss(fit.value) <= loss(1.0)
    if fit.fitted:
        for other in np.geomspace(0.1, 10, 21):
            assert loss(fit.value) <= loss(other) + 1e-6


@pytest.mark.parametrize("rule", ["equal_error", "best_f1", "false_positive_rate"])
@pytest.mark.parametrize("drawn", [[(1, 1), (1, 2)], [(0, 1), (0, 2)], [(0, 1), (1, 1)]])
def test_where_validation_tells_nothing_both_stay_and_say_so(rule, drawn):
    rules = make_calibration(rule, "scaling", value=0.7)
    labels, logits = _arrays(drawn)
    threshold = fit_threshold(logits, labels, rules.threshold)
    temperature = fit_temperature(logits, labels, rules.temperature)
    assert (threshold.value, temperature.value) == (0.7, 1.0)
    for fit in (threshold, temperature):
        assert not fit.fitted
        assert fit.note


@pytest.mark.parametrize(
    ("labels", "scale", "bound"),
    [([0, 0, 1, 1], 1.0, 0.1), ([0, 0, 1, 1], 500.0, 0.1), ([1, 1, 0, 0], 1.0, 10)],
)
def test_a_temperature_stops_at_a_bound_and_says_so(labels, scale, bound):
    logits = scale * np.array([-3.0, -1.0, 2.0, 4.0])
    fit = fit_temperature(logits, np.array(labels), SCALING)
    assert fit.value == pytest.approx(bound)
    assert fit.note


def test_classes_apart_on_one_side_of_0_have_a_least_loss_without_a_note():
    fit = fit_temperature(np.array([1.0, 2, 5, 6]), np.array([0, 0, 1, 1]), SCALING)
    assert 0.1 < fit.value < 10
    assert fit.note is None


def test_scores_too_far_out_to_differ_as_probabilities_still_keep_a_false_positive_rate():
    drawn = [(0, -1.0), (0, 800.0), (1, 900.0), (1, 1000.0)]
    fit, _, called = _fit(drawn, "false_positive_rate", 0.0)
    assert not called[0].any()
    assert fit.note
    assert math.isfinite(fit.value)
