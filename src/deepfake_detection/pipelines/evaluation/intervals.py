"""Confidence intervals of metrics over images that come in groups.

Five images of one source are not five observations. So the variance of a metric is taken between
groups, by linearisation: each image has an influence on the metric, influences are summed over each
group, and the sums vary. That gives the size of a sample of independent observations with the same
variance, for which Wilson's interval (1927; for clustered shares Korn and Graubard 1998) holds near
0 and 1 too, where value ± error, and percentile bootstraps, are too narrow.
"""

import math
from typing import Any

import numpy as np
from scipy.stats import rankdata, t

Floats = np.ndarray[Any, np.dtype[np.float64]]
UNKNOWN = (math.nan, math.nan)


def share_influence(part: Floats, whole: Floats) -> Floats:
    """Influence of each row on Σ part / Σ whole: float64, [n]."""
    total = whole.sum()
    return np.asarray((part - part.sum() / total * whole) / total)


def roc_auc_influence(labels: np.ndarray[Any, Any], scores: Floats) -> Floats:
    """Influence of each row on the area under the ROC curve: float64, [n].

    The structural components of DeLong (1988), which Obuchowski (1997) sums over clusters.
    """
    positive = labels == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(scores)
    within = np.empty(len(scores))
    within[positive], within[~positive] = rankdata(scores[positive]), rankdata(scores[~positive])
    # the share of the other class that each row stands on the right side of
    placement = np.where(positive, (ranks - within) / n_negative, 1 - (ranks - within) / n_positive)
    area = placement[positive].mean()
    return np.asarray((placement - area) / np.where(positive, n_positive, n_negative))


def interval(
    value: float, influence: Floats, groups: np.ndarray[Any, Any], confidence: float
) -> tuple[float, float]:
    """Interval of a metric in [0, 1] over rows that come in groups.

    Args:
        value: The metric.
        influence: Of each row on it, [n]; rows that play no part have 0.
        groups: The group of each row, [n].
        confidence: Such as 0.95.

    Returns:
        Lower and upper end, in [0, 1]; not a number where there is only one group.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    number = int(codes.max()) + 1
    if math.isnan(value) or number < 2:
        return UNKNOWN
    sums = np.bincount(codes, weights=influence, minlength=number)
    variance = number / (number - 1) * float((sums**2).sum())
    spread = value * (1 - value)
    # without any variation all that is known is that this many groups agree
    size = spread / variance if variance > 0 and spread > 0 else float(number)
    return _wilson(value, size, float(t.ppf((1 + confidence) / 2, number - 1)))


def _wilson(value: float, size: float, quantile: float) -> tuple[float, float]:
    shrink = quantile**2 / size
    centre = (value + shrink / 2) / (1 + shrink)
    half = quantile / (1 + shrink) * math.sqrt(value * (1 - value) / size + shrink / (4 * size))
    return max(0.0, centre - half), min(1.0, centre + half)
