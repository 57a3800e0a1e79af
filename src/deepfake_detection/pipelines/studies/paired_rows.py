"""Paired differences between two rows of a study, which score the same images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from deepfake_detection.metrics.differences import Difference, measure_over_runs

_OTHER_IMAGES = "no difference: the rows are scored on different images"


def split_by_run(predictions: pd.DataFrame, subset: str) -> dict[Any, pd.DataFrame]:
    """The predictions of a subset by run."""
    return dict(list(predictions[predictions["subset"] == subset].groupby("run")))


def compare_rows(
    scored: Mapping[Any, pd.DataFrame],
    runs: Sequence[str],
    others: Sequence[str] | None,
    metric: str,
    subset: str,
    confidence: float,
) -> Difference:
    """The difference of a row's runs to those of another; the value alone where there is none.

    `scored` are the predictions of `split_by_run`; see `measure_over_runs` for the rest.
    """
    ours = [scored[run] for run in runs]
    pairs = [
        (rows, aligned)
        for rows, other in zip(ours, others or [], strict=bool(others))
        if (aligned := _align(scored[other], rows)) is not None
    ]
    if len(pairs) == len(runs):
        return measure_over_runs(pairs, metric, subset, confidence)
    pairs = list(zip(ours, ours, strict=True))
    alone = measure_over_runs(pairs, metric, subset, confidence)
    nan, note = math.nan, _OTHER_IMAGES if others else None
    return replace(
        alone, difference=nan, low=nan, high=nan, p_value=nan, differing_groups=0, note=note
    )


def _align(others: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame | None:
    """The other run's rows in the order of these; None if they are of different images."""
    if set(others["path"]) != set(ours["path"]):
        return None
    return ours[["path"]].merge(others, on="path", validate="one_to_one")
