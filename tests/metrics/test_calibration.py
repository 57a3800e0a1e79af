"""Thresholds do what they promise on validation; a temperature lowers its log loss."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import f1_score, log_loss
from training_samples import make_calibration

from deepfake_detection.metrics.calibration import (
    choices_on_validation,
    fit_temperature,
    fit_threshold,
)

Array = np.ndarray[Any, Any]

scores = st.lists(
    st.tuples(st.integers(0, 1), st.one_of(st.integers(-6, 6), st.floats(-60, 60))),
    min_size=1,
    max_size=60,
)


def _arrays(drawn: list[tuple[int, float]]) -> tuple[Array, Array]:
    labels, logits = zip(*drawn, strict=True)
    return np.array(labels), np.array(logits, dtype=float)


def _rates(labels: Array, logits: Array, threshold: float) -> tuple[float, float]:
    """Shares of real ones called fake, and of fakes called real."""
    called = expit(logits) >= threshold
    return called[labels == 0].mean(), (~called[labels == 1]).mean()


def _possible_thresholds(logits: Array) -> list[float]:
    return [*np.unique(expit(logits)), 2.0]


@given(scores, st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_a_false_positive_rate_is_kept_with_as_many_true_positives_as_it_admits(
    drawn: list[tuple[int, float]], rate: float
) -> None:
    labels, logits = _arrays(drawn)
    assume(len(set(labels)) == 2 and np.ptp(expit(logits)) > 0)
    rule = make_calibration("false_positive_rate", false_positive_rate=rate).threshold
    fit = fit_threshold(logits, labels, rule)
    false_positives, misses = _rates(labels, logits, fit.value)
    assert fit.fitted
    assert false_positives <= rate
    possible = [_rates(labels, logits, each) for each in _possible_thresholds(logits)]
    assert misses == min(missed for alarms, missed in possible if alarms <= rate)
    assert (misses == 1) == (fit.note is not None)


@given(scores)
def test_equal_errors_are_as_equal_as_can_be(drawn: list[tuple[int, float]]) -> None:
    labels, logits = _arrays(drawn)
    assume(len(set(labels)) == 2 and np.ptp(expit(logits)) > 0)
    fit = fit_threshold(logits, labels, make_calibration("equal_error").threshold)
    false_positives, misses = _rates(labels, logits, fit.value)
    possible = [_rates(labels, logits, each) for each in _possible_thresholds(logits)]
    least = min(abs(alarms - missed) for alarms, missed in possible)
    assert abs(false_positives - misses) == pytest.approx(least, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(scores)
def test_no_threshold_has_a_better_f1(drawn: list[tuple[int, float]]) -> None:
    labels, logits = _arrays(drawn)
    assume(len(set(labels)) == 2 and np.ptp(expit(logits)) > 0)
    fit = fit_threshold(logits, labels, make_calibration("best_f1").threshold)
    ours = f1_score(labels, expit(logits) >= fit.value)
    for each in _possible_thresholds(logits):
        assert ours >= f1_score(labels, expit(logits) >= each, zero_division=0) - 1e-12


def test_a_threshold_stands_halfway_between_the_scores_that_it_parts() -> None:
    labels, logits = np.array([0, 0, 1, 1]), np.array([-3.0, -1.0, 2.0, 4.0])
    for rule in ("equal_error", "best_f1"):
        fit = fit_threshold(logits, labels, make_calibration(rule).threshold)
        assert fit.value == pytest.approx(expit(0.5))
        assert fit.note is None


@given(scores)
def test_a_temperature_never_makes_validation_s_log_loss_worse(
    drawn: list[tuple[int, float]],
) -> None:
    labels, logits = _arrays(drawn)
    fit = fit_temperature(logits, labels, make_calibration(temperature="scaling").temperature)

    def loss(temperature: float) -> float:
        return float(np.logaddexp(0, np.where(labels == 1, -1, 1) * logits / temperature).mean())

    assert fit.value * (1 + 1e-12) >= 0.1
    assert fit.value <= 10 * (1 + 1e-12)
    # it is the least of all, not only below 1
    assert loss(fit.value) <= loss(1.0)
    if fit.fitted:
        for other in np.geomspace(0.1, 10, 21):
            assert loss(fit.value) <= loss(other) + 1e-6


@pytest.mark.parametrize("sureness", [0.4, 3.0])
def test_scaling_finds_how_much_too_sure_scores_are(sureness: float) -> None:
    generator = np.random.default_rng(0)
    honest = generator.normal(size=20_000) * 2
    labels = (generator.random(20_000) < expit(honest)).astype(int)
    rule = make_calibration(temperature="scaling").temperature
    fit = fit_temperature(honest * sureness, labels, rule)
    assert fit.value == pytest.approx(sureness, rel=0.05)
    assert fit.note is None
    assert log_loss(labels, expit(honest * sureness / fit.value)) < log_loss(
        labels, expit(honest * sureness)
    )


@pytest.mark.parametrize("rule", ["equal_error", "best_f1", "false_positive_rate"])
@pytest.mark.parametrize(
    ("labels", "logits", "said"),
    [
        ([1, 1], [1.0, 2.0], "validation holds only fake images"),
        ([0, 0], [1.0, 2.0], "validation holds only real images"),
        ([0, 1], [1.0, 1.0], "all validation scores are equal"),
    ],
)
def test_where_validation_tells_nothing_both_stay_and_say_so(rule, labels, logits, said) -> None:
    rules = make_calibration(rule, "scaling", value=0.7)
    labels, logits = np.array(labels), np.array(logits)
    threshold = fit_threshold(logits, labels, rules.threshold)
    temperature = fit_temperature(logits, labels, rules.temperature)
    assert (threshold.value, temperature.value) == (0.7, 1.0)
    assert not threshold.fitted
    assert not temperature.fitted
    assert f"{said}: the threshold stays 0.7" in (threshold.note or "")
    assert f"{said}: the temperature stays 1" in (temperature.note or "")


@pytest.mark.parametrize(
    ("labels", "scale", "bound", "said"),
    [
        ([0, 0, 1, 1], 1.0, 0.1, "without end"),
        ([0, 0, 1, 1], 500.0, 0.1, "without end"),
        ([1, 1, 0, 0], 1.0, 10, "higher temperature"),
    ],
)
def test_a_temperature_stops_at_a_bound_and_says_so(labels, scale, bound, said) -> None:
    logits = scale * np.array([-3.0, -1.0, 2.0, 4.0])
    rule = make_calibration(temperature="scaling").temperature
    fit = fit_temperature(logits, np.array(labels), rule)
    assert fit.value == pytest.approx(bound)
    assert said in (fit.note or "")


def test_scores_too_far_out_to_differ_as_probabilities_still_keep_a_false_positive_rate() -> None:
    labels, logits = np.array([0, 0, 1, 1]), np.array([-1.0, 800.0, 900.0, 1000.0])
    rule = make_calibration("false_positive_rate", false_positive_rate=0.0).threshold
    fit = fit_threshold(logits, labels, rule)
    assert not (expit(logits) >= fit.value).any()
    assert "nothing was called fake" in (fit.note or "")
    assert math.isfinite(fit.value)


@pytest.mark.parametrize(
    ("fitted", "said"),
    [
        ([], "the epoch"),
        (["threshold"], "the epoch and the threshold"),
        (["threshold", "temperature"], "the epoch, the threshold and the temperature"),
    ],
)
def test_what_validation_chose_is_said_in_words(fitted: list[str], said: str) -> None:
    assert choices_on_validation({"fitted": fitted}) == said
    assert choices_on_validation({}) == "the epoch"
