"""The interval of fake probabilities in which a verdict is `unsure`, chosen on validation.

A reject option (Chow 1970) with a promise for each class, so that it holds whatever the share of
fakes: of the real images with a sure verdict at most `error_rate` are called fake, and of the fakes
with a sure verdict at most that share is called real. Groups of images count, not images: each
group has a weight of 1 in each class. As in conformal prediction (Vovk et al. 2005; for groups Dunn
et al. 2022), one more group is counted, which is wrong: validation with n groups of a class
promises no rate below 1 / (n + 1). If that is too high, the rate is kept on validation alone.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from deepfake_detection.metrics.intervals import Floats, Groups, Labels

# Candidates for each end of the interval: of more scores, so many quantiles
_MOST_CANDIDATES = 400
_ABOVE_ALL = math.nextafter(1, 2)


@dataclass(frozen=True)
class UnsureInterval:
    """A verdict is unsure where `low` ≤ fake probability < `high`; None: it never is.

    `note` says why there is none, why it promises nothing, or why it holds everything.
    """

    ends: tuple[float, float] | None
    note: str | None = None


def choose_unsure_interval(
    probabilities: Floats,
    labels: Labels,
    groups: Groups,
    threshold: float,
    error_rate: float | None,
) -> UnsureInterval:
    """The interval around the threshold, with the fewest images, that keeps the error rate.

    `probabilities`, `labels` and `groups` are [n], of the validation images; `error_rate` is in
    (0, 1), or None: verdicts are never unsure.
    """
    if error_rate is None:
        return UnsureInterval(None)
    count = [len(np.unique(groups[labels == label])) for label in (0, 1)]
    if min(count) == 0:
        return UnsureInterval(None, "no verdict is unsure: validation lacks real images or fakes")
    lows, highs = _list_ends(probabilities, threshold)
    # groups of each class from these probabilities on: [lows, 1] and [1, highs]
    above = [
        (
            _weigh_above(probabilities, labels, groups, label, lows)[:, None],
            _weigh_above(probabilities, labels, groups, label, highs)[None, :],
        )
        for label in (0, 1)
    ]
    sure = [number - low + high for number, (low, high) in zip(count, above, strict=True)]
    wrong = above[0][1], count[1] - above[1][0]

    def choose(extra: int) -> UnsureInterval | None:
        kept = [
            each + extra <= error_rate * (answers + extra) + 1e-9
            for each, answers in zip(wrong, sure, strict=True)
        ]
        share = np.where(kept[0] & kept[1], sure[0] / count[0] + sure[1] / count[1], 0.0)
        if share.max() <= 0:
            return None
        # of several that are as good, the narrowest
        width = highs[None, :] - lows[:, None]
        best = np.lexsort((width.ravel(), -share.ravel()))[0]
        low, high = np.unravel_index(best, share.shape)
        return UnsureInterval((float(lows[low]), float(highs[high])))

    if (chosen := choose(extra=1)) is not None:
        return chosen
    # not even a detector without errors could promise this rate
    too_few = min(count) + 1 < 1 / error_rate - 1e-9
    if too_few and (chosen := choose(extra=0)) is not None:
        return replace(
            chosen,
            note=f"sure verdicts keep an error rate of {error_rate:g} on validation, which has too "
            f"few groups ({count[0]} real, {count[1]} fake) to promise it of new images "
            "(calibration.verdict.error_rate)",
        )
    return UnsureInterval(
        (0.0, _ABOVE_ALL),
        f"every verdict is unsure: no interval of scores keeps an error rate of {error_rate:g} on "
        "validation (calibration.verdict.error_rate)",
    )


def _list_ends(probabilities: Floats, threshold: float) -> tuple[Floats, Floats]:
    """Candidates for the lower and the upper end: halfway between scores, and the threshold."""
    levels = np.unique(probabilities)
    between = np.concatenate(([0.0], (levels[:-1] + levels[1:]) / 2, [_ABOVE_ALL]))
    ends = between[between <= threshold], between[between >= threshold]
    lows, highs = (np.append(_thin(each), threshold) for each in ends)
    return lows, highs


def _thin(ends: Floats) -> Floats:
    places = np.linspace(0, len(ends) - 1, min(len(ends), _MOST_CANDIDATES))
    return ends[places.round().astype(int)] if len(ends) else ends


def _weigh_above(
    probabilities: Floats, labels: Labels, groups: Groups, label: int, ends: Floats
) -> Floats:
    """For each end, the sum over the groups of a class of their share of images from it on."""
    of_class = labels == label
    scores, codes = probabilities[of_class], np.unique(groups[of_class], return_inverse=True)[1]
    weights = 1 / np.bincount(codes)[codes]
    order = np.argsort(scores)
    above = np.append(weights[order][::-1].cumsum()[::-1], 0.0)
    return np.asarray(above[np.searchsorted(scores[order], ends)])
