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
    for at, distortion in enumerate(distortions):
        rows = _judge(scored, logits[:, at], card)
        of_rows = Scored.of(rows, _LEVEL, temperature)
        measured = list(measure_comparable(of_rows))
        changes: list[Difference | None] = [None] * len(measured)
        if at > 0:
            both = (temperature, temperature)
            changes = list(measure_differences(rows, undistorted, both, subset, _LEVEL, confidence))
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
            names | _row(each, None, of_rows.groups, confidence)
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
    measured: Measured, change: Difference | None, groups: np.ndarray, confidence: float
) -> dict[str, Any]:
    low, high = measured.interval(groups, confidence)
    note = measured.reason
    if note is None and change is not None and change.note:
        note = f"of the difference: {change.note}"
    return {
        "metric": measured.metric,
        "class_name": measured.class_name,
        "value": measured.value,
        "low": low,
        "high": high,
        "n": measured.n,
        "difference": change.difference if change else np.nan,
        "difference_low": change.low if change else np.nan,
        "difference_high": change.high if change else np.nan,
        "note": note,
    }
