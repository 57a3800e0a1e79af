"""Metrics under each distortion, and what changed against the undistorted pictures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake_detection.images.distortions import Distortion
from deepfake_detection.metrics.differences import Difference, measure_differences
from deepfake_detection.metrics.intervals import Floats
from deepfake_detection.metrics.metrics import measure_comparable, measure_unlikeness
from deepfake_detection.metrics.scored import UNLIKENESS, Measured, Scored
from deepfake_detection.models.detector import DetectorCard

_METRICS = ("accuracy", "roc_auc", "recall")
_LEVEL = "image"


def measure_distortions(
    scored: pd.DataFrame,
    distortions: Sequence[Distortion],
    logits: Floats,
    unlikeness: Floats,
    card: DetectorCard,
    subset: str,
    confidence: float,
) -> pd.DataFrame:
    """Metrics under each distortion, with intervals between groups.

    The table of `measure_robustness`, without run_fingerprint. Logits are [images, distortions],
    without temperature, those of the undistorted pictures first, and so is unlikeness. Threshold
    and temperature are those of the detector's card.
    """
    temperature, table = card.temperature, []
    undistorted = _judge(scored, logits[:, 0], card)
    # two recalls under each distortion
    corrected = 1 - (1 - confidence) / max(2 * (len(distortions) - 1), 1)
    for at, distortion in enumerate(distortions):
        rows = _judge(scored, logits[:, at], card)
        of_rows = Scored.of(rows, _LEVEL, temperature)
        measured = list(measure_comparable(of_rows))
        changes: list[list[Difference]] = [[] for _ in measured]
        for level in (confidence, corrected) if at > 0 else ():
            both = (temperature, temperature)
            found = measure_differences(rows, undistorted, both, subset, _LEVEL, level)
            for of_metric, change in zip(changes, found, strict=True):
                of_metric.append(change)
        names = {
            "subset": subset,
            "distortion": distortion.name,
            "strength": distortion.strength,
            "strength_name": distortion.words,
        }
        table += [
            names | _row(each, change, of_rows.groups, confidence)
            for each, change in zip(measured, changes, strict=True)
            if each.metric in _METRICS
        ]
        unlike = replace(of_rows, unlikeness=unlikeness[:, at])
        table += [
            names | _row(each, [], of_rows.groups, confidence)
            for each in measure_unlikeness(unlike)
            if each.metric == UNLIKENESS and not np.isnan(each.value)
        ]
    return pd.DataFrame(table)


def _judge(scored: pd.DataFrame, logits: Floats, card: DetectorCard) -> pd.DataFrame:
    """The rows with these logits, and what the detector calls them."""
    probability = expit(logits / card.temperature)
    predicted = (probability >= card.threshold).astype("int64")
    return scored[["class_name", "label", "group"]].assign(logit=logits, predicted=predicted)


def _row(
    measured: Measured, changes: list[Difference], groups: np.ndarray, confidence: float
) -> dict[str, Any]:
    """A row; the changes are the same with their interval, and with the corrected one."""
    low, high = measured.interval(groups, confidence)
    note = measured.reason
    if note is None and changes and changes[0].note:
        note = f"of the difference: {changes[0].note}"
    ends = [end for change in changes for end in (change.low, change.high)] or [np.nan] * 4
    return {
        "metric": measured.metric,
        "class_name": measured.class_name,
        "value": measured.value,
        "low": low,
        "high": high,
        "n": measured.n,
        "difference": changes[0].difference if changes else np.nan,
        "difference_low": ends[0],
        "difference_high": ends[1],
        "corrected_low": ends[2],
        "corrected_high": ends[3],
        "note": note,
    }
