"""Metrics under each distortion, and what changed against the undistorted pictures."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from deepfake_detection.images.distortions import NONE, Distortion
from deepfake_detection.metrics.differences import Difference, measure_differences
from deepfake_detection.metrics.intervals import Floats
from deepfake_detection.metrics.metrics import Measured, Scored, measure_comparable
from deepfake_detection.models.detector import DetectorCard

_METRICS = ("accuracy", "roc_auc", "recall")
_LEVEL = "image"


def measure_distortions(
    scored: pd.DataFrame,
    distortions: Sequence[Distortion],
    logits: Floats,
    card: DetectorCard,
    subset: str,
    confidence: float,
) -> pd.DataFrame:
    """Accuracy, ROC AUC and both recalls under each distortion, with intervals between groups.

    Args:
        scored: Columns class_name, label, group; a row for each image.
        distortions: The first is `none`.
        logits: float64, [images, distortions], without temperature.
        card: Of the detector; its threshold and temperature count.
        subset: Name of the subset.
        confidence: Of the intervals, such as 0.95.

    Returns:
        A row for each distortion, strength and metric (see `measure_robustness`).
    """
    renditions = [_judge(scored, each, card) for each in logits.T]
    return pd.DataFrame(
        [
            {
                "subset": subset,
                "distortion": distortion.name,
                "strength": distortion.strength,
                "strength_name": distortion.words,
                **row,
            }
            for distortion, rows in zip(distortions, renditions, strict=True)
            for row in _measure(
                rows,
                None if distortion.name == NONE else renditions[0],
                subset,
                card.temperature,
                confidence,
            )
        ]
    )


def _judge(scored: pd.DataFrame, logits: Floats, card: DetectorCard) -> pd.DataFrame:
    """The rows with these logits, and what the detector calls them."""
    probability = expit(logits / card.temperature)
    predicted = (probability >= card.threshold).astype("int64")
    return scored[["class_name", "label", "group"]].assign(logit=logits, predicted=predicted)


def _measure(
    rows: pd.DataFrame,
    undistorted: pd.DataFrame | None,
    subset: str,
    temperature: float,
    confidence: float,
) -> Iterator[dict[str, Any]]:
    scored = Scored.of(rows, _LEVEL, temperature)
    measured = list(measure_comparable(scored))
    changes: Sequence[Difference | None] = [None] * len(measured)
    if undistorted is not None:
        both = (temperature, temperature)
        changes = list(measure_differences(rows, undistorted, both, subset, _LEVEL, confidence))
    for each, change in zip(measured, changes, strict=True):
        if each.metric in _METRICS:
            yield _row(each, change, scored, confidence)


def _row(
    measured: Measured, change: Difference | None, scored: Scored, confidence: float
) -> dict[str, Any]:
    low, high = measured.interval(scored.groups, confidence)
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
