"""Threshold, temperature and source score of a detector, fitted on its validation subset."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.intervals import Floats, Groups, Labels
from deepfake_detection.metrics.source_scores import choose_source_score
from deepfake_detection.metrics.unsure_interval import Bools, choose_unsure_interval
from deepfake_detection.models.detector import CLASS_NAMES, Detector
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import (
    CalibrationParameters,
    TemperatureParameters,
    ThresholdParameters,
)

log = logging.getLogger(__name__)

_PLAIN = 1.0


@dataclass(frozen=True)
class Fitted:
    """A threshold or a temperature, whether validation chose it, and what must be known of it."""

    value: float
    fitted: bool
    note: str | None = None


def calibrate(
    detector: Detector, validation: pd.DataFrame, calibration: CalibrationParameters
) -> Detector:
    """The same detector with threshold, temperature and source score as its parameters ask for.

    There is a row for each validation image: label, logit (fake minus real, without temperature),
    class_name, source, group, training_distance. A UserError says that logits are not finite, or
    what has no choice.
    """
    logits: Floats = validation["logit"].to_numpy(dtype=np.float64)
    labels: Labels = validation["label"].to_numpy(dtype=np.int64)
    if not np.isfinite(logits).all():
        raise UserError(
            "the validation logits of this detector are not finite, so that no threshold can be "
            "chosen: train again, with a lower learning rate or in fp32"
        )
    temperature = fit_temperature(logits, labels, calibration.temperature)
    threshold = fit_threshold(logits / temperature.value, labels, calibration.threshold)
    source_score = choose_source_score(validation, temperature.value, calibration.source_score)
    fits = {"threshold": threshold, "temperature": temperature}
    unlike_from = _limit_distance(detector, calibration.verdict.unlike_share)
    alike = _are_alike(validation, unlike_from)
    unsure = choose_unsure_interval(
        expit(logits / temperature.value)[alike],
        labels[alike],
        _groups_of(validation)[alike],
        threshold.value,
        calibration.verdict.error_rate,
    )
    notes = [note for note in (threshold.note, temperature.note, unsure.note) if note]
    # of imported weights, of which validation chose no epoch
    kept = {key: value for key, value in detector.card.calibration.items() if key == "epoch"}
    card = replace(
        detector.card,
        threshold=threshold.value,
        temperature=temperature.value,
        calibration=kept
        | {
            "fitted": [name for name, fit in fits.items() if fit.fitted],
            "notes": notes,
            "source_score": source_score.as_json(),
            "verdict": {
                "error_rate": calibration.verdict.error_rate,
                "unsure": unsure.ends and [*unsure.ends],
                "unlike_from": unlike_from,
            },
        },
    )
    log.info(
        "The detector of run %s calls a picture fake from a probability of %.4g on (%s), at "
        "temperature %.4g (%s)",
        detector.card.run_fingerprint[:12], threshold.value, calibration.threshold.rule,
        temperature.value, calibration.temperature.rule,
    )  # fmt: skip
    if unsure.ends is not None and unsure.ends[0] < unsure.ends[1]:
        log.info("Verdicts are unsure from a fake probability of %.4g to %.4g", *unsure.ends)
    for note in notes:
        log.warning("%s", note)
    return replace(detector, card=card)


def _groups_of(validation: pd.DataFrame) -> Groups:
    """What is counted as one observation; of older versions' logits, the source or the image."""
    names = [name for name in ("group", "source") if name in validation]
    return np.asarray(validation[names[0]] if names else validation.index)


def _are_alike(validation: pd.DataFrame, unlike_from: float | None) -> Bools:
    """The images whose verdict the training distance leaves sure."""
    if unlike_from is None or "training_distance" not in validation:
        return np.ones(len(validation), dtype=bool)
    return np.asarray(validation["training_distance"] <= unlike_from)


def _limit_distance(detector: Detector, share: float | None) -> float | None:
    """The training distance that this share of the validation images exceeds, if it is known."""
    measure = detector.training_distance
    if share is None or measure is None or not len(measure.validation):
        return None
    return float(np.quantile(measure.validation, 1 - share, method="higher"))


def choices_on_validation(calibration: Mapping[str, Any]) -> str:
    """What validation chose of a detector, in words: `the epoch and the threshold`.

    The calibration is that of its card; empty for one made before there was any. Empty, if
    validation chose nothing of imported weights.
    """
    fitted = [*calibration.get("fitted", [])]
    if SourceScore.of(calibration).areas:
        fitted.append("rule of source scores")
    epoch = ["the epoch"] if calibration.get("epoch", True) else []
    if not epoch and not fitted and calibration.get("verdict", {}).get("unsure"):
        fitted.append("interval of unsure scores")
    *first, last = [*epoch, *(f"the {name}" for name in fitted)] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def fit_temperature(logits: Floats, labels: Labels, parameters: TemperatureParameters) -> Fitted:
    """The number by which logits (fake minus real, [n]) are divided.

    Scaling (Guo et al. 2017): the positive one with which the log loss is least. It changes no
    order, and no verdict at a threshold of 0.5.
    """
    if parameters.rule == "none":
        return Fitted(_PLAIN, fitted=False)
    if reason := _why_nothing_fits(logits, labels):
        return Fitted(_PLAIN, fitted=False, note=f"{reason}: the temperature stays {_PLAIN:g}")

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(np.logaddexp(0, np.where(labels == 1, -scaled, scaled)).mean())

    # as a function of its inverse the loss is convex, so that there is one least value
    low, high = (math.log(bound) for bound in parameters.bounds)
    inner = float(minimize_scalar(loss, bounds=(low, high), method="bounded").x)
    best = min((low, high, 0.0, inner), key=loss)
    note: str | None = None
    if logits[labels == 1].min() > 0 > logits[labels == 0].max():
        note = (
            "every verdict on validation is right at a threshold of 0.5, so that the log loss "
            "falls with the temperature without end: it stops at the lower of "
            f"calibration.temperature.bounds, {math.exp(best):g}"
        )
    elif best in (low, high):
        side = "lower" if best == low else "higher"
        note = (
            f"the log loss of validation would be least at a {side} temperature than "
            f"calibration.temperature.bounds allow: it is {math.exp(best):g}"
        )
    return Fitted(math.exp(best), fitted=True, note=note)


def fit_scale(scores: Floats, labels: Labels) -> tuple[float, float]:
    """Slope and intercept that make logits (fake minus real) of scores without a scale, [n].

    Platt 1999, with his targets, so that no class is told with certainty.

    Raises:
        UserError: If there is one class only, or the fakes do not have the higher scores.
    """
    if reason := _why_nothing_fits(scores, labels):
        raise UserError(f"no scale can be given to these scores: {reason}")
    mean, deviation = float(scores.mean()), float(scores.std())
    fakes = int((labels == 1).sum())
    reals = len(labels) - fakes
    # each image as a fake with its target as the weight, and as a real one with the rest
    targets = np.where(labels == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))
    given = np.tile((scores - mean) / deviation, 2)[:, None]
    fitted = LogisticRegression(C=np.inf).fit(
        given, np.repeat([1, 0], len(scores)), np.concatenate([targets, 1 - targets])
    )
    slope = float(fitted.coef_[0, 0]) / deviation
    if slope <= 0:
        raise UserError(
            "the fakes do not have the higher scores on the images that calibrate: real and fake "
            "may be swapped, in the scores or in the labels"
        )
    return slope, float(fitted.intercept_[0]) - slope * mean


def fit_threshold(logits: Floats, labels: Labels, parameters: ThresholdParameters) -> Fitted:
    """The fake probability from which on a picture is called fake.

    - equal_error: false positives and false negatives are about as frequent, each in its class;
    - best_f1: F1 of fakes is highest;
    - false_positive_rate: the lowest with at most that share of real ones called fake.

    A threshold stands halfway, in logits, between the two scores that it parts. The logits (fake
    minus real, [n]) are divided by the temperature already.
    """
    if parameters.rule == "fixed":
        return Fitted(parameters.value, fitted=False)
    probabilities = expit(logits)
    if reason := _why_nothing_fits(probabilities, labels):
        stays = f"the threshold stays {parameters.value:g}"
        return Fitted(parameters.value, fitted=False, note=f"{reason}: {stays}")
    thresholds = _list_thresholds(logits)
    # as many points as thresholds, from that above all scores down
    curve = roc_curve(labels, probabilities, drop_intermediate=False)
    false_positive_rates, recalls = curve[0][::-1], curve[1][::-1]
    if parameters.rule == "equal_error":
        # of several that are as near, the one with fewer errors
        distance = np.abs(false_positive_rates - (1 - recalls))
        best = np.lexsort((false_positive_rates + 1 - recalls, distance))[0]
    elif parameters.rule == "best_f1":
        fakes, reals = int((labels == 1).sum()), int((labels != 1).sum())
        true_positives, false_positives = recalls * fakes, false_positive_rates * reals
        best = np.argmax(2 * true_positives / (true_positives + false_positives + fakes))
    else:
        best = np.argmax(false_positive_rates <= parameters.false_positive_rate)
    note: str | None = None
    if recalls[best] == 0:
        note = (
            f"on validation no threshold keeps the {parameters.rule.replace('_', ' ')} and finds a "
            "fake: with this one, nothing was called fake"
        )
    return Fitted(float(thresholds[best]), fitted=True, note=note)


def _list_thresholds(logits: Floats) -> Floats:
    """All that part the scores differently, rising, the last above all of them: float64, [k]."""
    # of scores too far out to differ as probabilities, one stands for all
    probabilities, first = np.unique(expit(logits), return_index=True)
    levels = np.asarray(logits, dtype=np.float64)[first]
    halfway = expit((levels[:-1] + levels[1:]) / 2)
    # rounding must not move one onto the score beneath it, which would be called fake then
    halfway = np.where(halfway > probabilities[:-1], halfway, probabilities[1:])
    halfway = np.minimum(halfway, probabilities[1:])
    return np.concatenate((probabilities[:1], halfway, [np.nextafter(probabilities[-1], 2)]))


def _why_nothing_fits(scores: Floats, labels: Labels) -> str | None:
    present = np.unique(labels)
    if len(present) == 1:
        return f"validation holds only {CLASS_NAMES[present[0]]} images"
    return "all validation scores are equal" if np.ptp(scores) == 0 else None
