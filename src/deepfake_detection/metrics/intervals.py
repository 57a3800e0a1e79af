"""Confidence intervals of metrics over images that come in groups.

Five images of one source are not five observations. So the variance of a metric is taken between
groups, by linearisation: each image has an influence on the metric (the derivative with respect to
its weight), influences are summed over each group, and the sums vary. For a metric in [0, 1] that
gives the size of a sample of independent observations with the same variance, for which Wilson's
interval (1927; for clustered shares Korn and Graubard 1998) holds near 0 and 1 too, where
value ± error, and percentile bootstraps, are too narrow.

Where a few groups cause most of the variance (the few errors of a good detector), the variance
itself is poorly known. So the quantile is Student's t with Satterthwaite's (1946) degrees of
freedom. For shares of counts, the variance is largely determined by the value; there the degrees of
freedom are groups − 1.

Influences are float64, [n], 0 for rows that play no part; groups are [n]. An interval is its lower
and its upper end, both NaN where there is only one group; those of metrics in [0, 1] lie there.

`times` plans a sample: the interval is that of so many times as many groups that vary like these.
"""

import math
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata, t

Floats = np.ndarray[Any, np.dtype[np.float64]]
Labels = np.ndarray[Any, np.dtype[np.int64]]  # 1 fake, 0 real
Groups = np.ndarray[Any, Any]
UNKNOWN = (math.nan, math.nan)


def share_influence(part: Floats, whole: Floats) -> Floats:
    """Influence of each row on Σ part / Σ whole."""
    total = whole.sum()
    return np.asarray((part - part.sum() / total * whole) / total)


def balanced_accuracy_influence(labels: Labels, right: Floats) -> Floats:
    """Influence of each row on the mean of both recalls; `right` is 1 where it was called right."""
    recalls = [share_influence(right * (labels == each), labels == each) for each in (0, 1)]
    return np.asarray((recalls[0] + recalls[1]) / 2)


def roc_auc_influence(labels: Labels, scores: Floats) -> Floats:
    """Influence of each row on the area under the ROC curve.

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


def average_precision_influence(labels: Labels, scores: Floats) -> Floats:
    """Influence of each row on average precision.

    Average precision is the mean, over the positive rows i, of the precision P(i) among the rows
    that score at least as high as i. A row moves it by its own P, if it is positive, and by the
    precision at every positive row that it stands above: there, of N(i) rows with T(i) positive
    ones, another positive one adds (N − T) / N², another negative one takes T / N².

    It depends on the share of fakes, whose chance is counted in. Where that share was fixed
    beforehand, an interval out of these influences is somewhat too wide.
    """
    positive = labels == 1
    levels, places = np.unique(scores, return_inverse=True)
    positives = np.bincount(places, weights=positive, minlength=len(levels))
    rows = np.bincount(places, minlength=len(levels))
    found = positives[::-1].cumsum()[::-1]
    called = rows[::-1].cumsum()[::-1]
    precision = found / called
    value = (positives * precision).sum() / positives.sum()
    # over all positive rows at or below each score
    gain = (positives * (called - found) / called**2).cumsum()[places]
    loss = (positives * found / called**2).cumsum()[places]
    own = precision[places] - value
    return np.asarray(np.where(positive, own + gain, -loss) / positives.sum())


def interval(
    value: float,
    influence: Floats,
    groups: Groups,
    confidence: float,
    *,
    counted: bool = True,
    known_by: int | None = None,
    times: float = 1.0,
) -> tuple[float, float]:
    """Wilson's interval of a metric in [0, 1] over rows that come in groups.

    `counted` says that it is a share of counts, not a mean of values between 0 and 1: then the size
    of the sample of independent observations is at most n. If the variance is 0, `known_by`
    (default: the number of groups) is used as the sample size.
    """
    sums = sum_over_groups(influence, groups)
    number = len(sums) * times
    if math.isnan(value) or len(sums) < 2:
        return UNKNOWN
    # a metric that is a sum over images can miss 0 or 1 by rounding
    value = min(max(value, 0.0), 1.0)
    variance, binomial_variance = _variance(sums, value, times), value * (1 - value)
    if variance == 0 or binomial_variance == 0:
        # all that is known is that this many groups agree
        size, freedom = (known_by or len(sums)) * times, number - 1.0
    elif counted:
        # groups that happen to have the same share do not tell more than independent rows
        size, freedom = min(binomial_variance / variance, len(influence) * times), number - 1.0
    else:
        size, freedom = binomial_variance / variance, _freedom(sums, times)
    quantile = _quantile(confidence, freedom)
    shrink = quantile**2 / size
    centre = (value + shrink / 2) / (1 + shrink)
    half = quantile / (1 + shrink) * math.sqrt(binomial_variance / size + shrink / (4 * size))
    return max(0.0, centre - half), min(1.0, centre + half)


def area_interval(
    value: float,
    influence: Floats,
    groups: Groups,
    confidence: float,
    *,
    known_by: int | None = None,
    times: float = 1.0,
) -> tuple[float, float]:
    """Interval of an area under a curve, such as ROC AUC: t on its logit (Pepe 2003).

    It covers better than Wilson's near 1, where an area's variance falls faster than a share's.
    """
    half = _half_width(value, influence, groups, confidence, times)
    binomial_variance = value * (1 - value)
    if math.isnan(half) or binomial_variance <= 0:
        return interval(value, influence, groups, confidence, known_by=known_by, times=times)
    half /= binomial_variance
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))


def positive_interval(
    value: float, influence: Floats, groups: Groups, confidence: float, *, times: float = 1.0
) -> tuple[float, float]:
    """Interval of a metric above 0 without an upper end, such as log loss: t on its logarithm.

    Its ends are above 0, and NaN also where all groups agree and where the value is 0.
    """
    half = _half_width(value, influence, groups, confidence, times)
    if math.isnan(half) or not value > 0:
        return UNKNOWN
    # the logarithm's standard error is the relative standard error; the limit keeps exp() finite
    half = min(half / value, 300.0)
    return value * math.exp(-half), value * math.exp(half)


def difference_interval(
    difference: float, influence: Floats, groups: Groups, confidence: float
) -> tuple[float, float]:
    """Student's t interval of the difference of a metric between two detectors on the same rows.

    A row's influence is the difference of its influences on both. NaN also where no group differs.
    """
    half = _half_width(difference, influence, groups, confidence)
    return difference - half, difference + half


def difference_p_value(difference: float, influence: Floats, groups: Groups) -> float:
    """Two-sided p-value, in [0, 1], of a difference of 0, by the t of `difference_interval`.

    It is below 1 − confidence where that interval leaves out 0, and NaN where there is none.
    """
    error, freedom = _error(difference, influence, groups)
    return 2 * float(t.sf(abs(difference) / error, freedom)) if error > 0 else math.nan


def detectable_difference(
    difference: float,
    influence: Floats,
    groups: Groups,
    confidence: float,
    power: float,
    times: float = 1.0,
) -> float:
    """The true difference that `difference_interval` tells from 0 in a share `power` of samples.

    Of a t test: (quantile of confidence + quantile of power) × standard error. NaN as there.
    """
    error, freedom = _error(difference, influence, groups, times)
    found = (_quantile(confidence, freedom) + float(t.ppf(power, freedom))) * error
    return found if error > 0 else math.nan


def sum_over_groups(influence: Floats, groups: Groups) -> Floats:
    """The influences summed over each group: float64, [groups]."""
    codes = np.unique(groups, return_inverse=True)[1]
    return np.asarray(np.bincount(codes, weights=influence), dtype=np.float64)


def _half_width(
    value: float, influence: Floats, groups: Groups, confidence: float, times: float = 1.0
) -> float:
    """Half of the t interval of a metric; NaN where there is one group, or nothing varies."""
    error, freedom = _error(value, influence, groups, times)
    return _quantile(confidence, freedom) * error if error > 0 else math.nan


def _error(
    value: float, influence: Floats, groups: Groups, times: float = 1.0
) -> tuple[float, float]:
    """Standard error and its degrees of freedom; 0 and NaN for one group, or if nothing varies."""
    sums = sum_over_groups(influence, groups)
    if len(sums) < 2 or (variance := _variance(sums, value, times)) == 0:
        return 0.0, math.nan
    return math.sqrt(variance), _freedom(sums, times)


def _variance(sums: Floats, value: float, times: float) -> float:
    number = len(sums) * times
    # what rounding leaves of sums that are all the same is no variation
    if np.abs(sums).max() <= 1e-13 * abs(value):
        return 0.0
    return number / (number - 1) * float((sums**2).sum()) / times


def _freedom(sums: Floats, times: float) -> float:
    # Degrees of freedom of a normal sample whose variance has the same error.
    # Scaled by the largest sum, since fourth powers of small numbers underflow.
    squares = (sums / np.abs(sums).max()) ** 2
    total = float(squares.sum())
    error = float((squares**2).sum()) - total**2 / len(sums)
    most = len(sums) * times - 1.0
    return most if error <= 0 else min(most, max(1.0, times * 2 * total**2 / error))


def _quantile(confidence: float, freedom: float) -> float:
    return float(t.ppf((1 + confidence) / 2, freedom))
