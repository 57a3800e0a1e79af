"""Comparison of any number of detectors on the same images, corrected for the number of pairs."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.differences import compare_measured
from deepfake_detection.metrics.intervals import Floats
from deepfake_detection.metrics.metrics import measure_comparable
from deepfake_detection.metrics.scored import Scored
from deepfake_detection.metrics.source_scores import score_sources
from deepfake_detection.models.detector_card import DetectorCard
from deepfake_detection.models.source_score import SourceScore

_ROW = ["subset", "path"]
_FAMILY = ["subset", "level", "metric", "class_name"]


def judging_of(card: DetectorCard) -> dict[str, Any]:
    """How a detector judges: threshold, temperature, and source_score as in a detector's card."""
    source_score = SourceScore.of(card.calibration).as_json()
    return {
        "threshold": card.threshold, "temperature": card.temperature, "source_score": source_score,
    }  # fmt: skip


def compare_all(
    predictions: Mapping[str, pd.DataFrame],
    judging: Mapping[str, Mapping[str, Any]],
    confidence: float,
) -> pd.DataFrame:
    """Compare detectors, by name, on each subset, by image and by source.

    The predictions hold the same images, in any order; `judging` is that of `judging_of`.

    Returns:
        The rows of `compare_scored`, for each subset and level.

    Raises:
        UserError: If the predictions are not of the same images.
    """
    images = align(predictions)
    sources = {
        name: score_sources(
            rows, judging[name]["threshold"], judging[name]["temperature"],
            SourceScore.of(judging[name]),
        )
        for name, rows in images.items()
    }  # fmt: skip
    temperatures = {name: judging[name]["temperature"] for name in images}
    tables = []
    for level, scored in (("image", images), ("source", sources)):
        for subset in next(iter(scored.values()))["subset"].unique():
            rows = {name: each[each["subset"] == subset] for name, each in scored.items()}
            tables.append(compare_scored(rows, temperatures, str(subset), level, confidence))
    return pd.concat(tables, ignore_index=True)


def compare_scored(
    scored: Mapping[str, pd.DataFrame],
    temperatures: Mapping[str, float],
    subset: str,
    level: str,
    confidence: float,
) -> pd.DataFrame:
    """Compare every two detectors, by name, on one subset at one level.

    The tables are as in `measure`, with the same rows in the same order.

    Returns:
        A row for each pair and metric: detector, other_detector, the columns of `Difference`, and
        p_holm: the p-value corrected for all pairs (Holm 1979), by metric and class_name. NaN has
        no p-value; it counts as a pair.
    """
    of_rows = {name: Scored.of(each, level, temperatures[name]) for name, each in scored.items()}
    measured = {name: list(measure_comparable(each)) for name, each in of_rows.items()}
    groups = next(iter(of_rows.values())).groups
    table = pd.DataFrame(
        {"detector": name, "other_detector": other} | asdict(row)
        for name, other in combinations(measured, 2)
        for row in compare_measured(
            measured[name], measured[other], groups, subset, level, confidence
        )
    )
    p_values = table.groupby(_FAMILY, dropna=False, sort=False)["p_value"]
    corrected = p_values.transform(correct_holm)
    table.insert([*table].index("p_value") + 1, "p_holm", corrected)
    return table


def correct_holm(p_values: pd.Series) -> Floats:
    """P-values corrected for their number by Holm's (1979) step-down method; NaN stays NaN."""
    values = p_values.to_numpy(dtype=np.float64)
    order = np.argsort(values)  # NaN last
    steps = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def align(predictions: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The predictions of each detector, in the order of the first one's rows.

    Raises:
        UserError: If they are not of the same images, or differ in their labels.
    """
    first, *_ = predictions
    ours = predictions[first].reset_index(drop=True)
    return {first: ours} | {
        name: _align(others, ours, (first, name))
        for name, others in predictions.items()
        if name != first
    }


def _align(others: pd.DataFrame, ours: pd.DataFrame, names: tuple[str, str]) -> pd.DataFrame:
    keys = [*_ROW, "label"]
    left, right = (set(each[keys].itertuples(index=False, name=None)) for each in (ours, others))
    if left != right or not len(ours) == len(others) == len(left):
        subset, path, _ = min(left ^ right, default=("", "an image given twice", 0))
        raise UserError(
            f"{names[0]} and {names[1]} were not scored on the same images: {path} ({subset}) is "
            "not in both predictions. Score both on one split: kedro run --pipelines "
            "paired_comparison"
        )
    return ours[_ROW].merge(others, on=_ROW, how="left", validate="one_to_one")
