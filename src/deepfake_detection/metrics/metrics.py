"""Metrics of predictions, at image and at source level.

Fake is the positive class; precision, recall and F1 are given for both classes, by name.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score, roc_curve

from deepfake_detection.metrics.intervals import (
    Floats,
    Labels,
    average_precision_influence,
    balanced_accuracy_influence,
    interval,
    roc_auc_influence,
    share_influence,
)
from deepfake_detection.metrics.scored import (
    AUC_OF_KIND,
    MEAN_AUC,
    MEAN_RECALL,
    RECALL_OF_KIND,
    UNLIKENESS,
    Measured,
    Metric,
    Scored,
    mean,
    share,
)
from deepfake_detection.models.detector import CLASS_NAMES

# Share of the images that `accuracy_of_likest` counts
_LIKEST = 0.9
# Bins of reliability: at least, at most, and images in each where there are enough
_BINS, _IMAGES_OF_BIN = (5, 8), 30
_BY_LABEL = ((1, CLASS_NAMES[1]), (0, CLASS_NAMES[0]))
COUNTS = ("true_negatives", "false_positives", "false_negatives", "true_positives")

# What the order of scores decides
_OF_ORDER = ("roc_auc", "average_precision", "equal_error_rate", AUC_OF_KIND, MEAN_AUC)
_NO_SCALE = (
    "the scores of this program have no known scale: only their order is judged; "
    "external_calibration gives them one"
)
_NO_INTERVAL = {
    "equal_error_rate": (
        "no interval: its error depends on the density of scores at one threshold, which cannot be "
        "estimated from few groups"
    ),
    "expected_calibration_error": (
        "no interval: chance alone makes it larger, the more so the fewer images there are"
    ),
}


def measure(
    rows: pd.DataFrame,
    subset: str,
    level: str,
    *,
    confidence: float,
    calibration_bins: int,
    temperature: float,
) -> Iterator[Metric]:
    """All metrics of one subset at one level.

    There is a row for each image, or source: class_name, label, group, logit, predicted. Logits are
    divided by the temperature here.
    """
    scored = Scored.of(rows, level, temperature)
    for each in measure_all(scored, calibration_bins):
        ends = each.interval(scored.groups, confidence)
        yield Metric(
            each.metric, subset, level, each.class_name, each.value, *ends, each.n, each.reason
        )


def measure_all(scored: Scored, calibration_bins: int) -> Iterator[Measured]:
    """All metrics of one subset at one level, before their intervals."""
    return _with_scale(scored, _measure_all(scored, calibration_bins))


def _with_scale(scored: Scored, metrics: Iterator[Measured]) -> Iterator[Measured]:
    """Of scores without a known scale, the metrics of their order; the others are undefined."""
    for each in metrics:
        if scored.has_scale or each.metric in _OF_ORDER:
            yield each
        else:
            yield Measured(each.metric, each.class_name, math.nan, each.n, reason=_NO_SCALE)


def _measure_all(scored: Scored, calibration_bins: int) -> Iterator[Measured]:
    yield mean("accuracy", scored.right)
    for metric in _COMPARING:
        yield _compare_classes(metric, scored)
    yield _measure_equal_error(scored)
    yield from _measure_probabilities(scored)
    yield _measure_calibration(scored, calibration_bins)
    yield from _measure_classes(scored)
    yield from _measure_sure(scored)
    yield from measure_unlikeness(scored)
    yield from _count(scored)


def measure_comparable(scored: Scored) -> Iterator[Measured]:
    """The metrics of which two detectors' differences have intervals."""
    return _with_scale(scored, _measure_comparable(scored))


def _measure_comparable(scored: Scored) -> Iterator[Measured]:
    yield mean("accuracy", scored.right)
    yield _compare_classes("balanced_accuracy", scored)
    yield _compare_classes("roc_auc", scored)
    yield from _measure_probabilities(scored)
    yield from _measure_recalls(scored)
    yield from _measure_areas_of_kinds(scored)


def _mean_recall(labels: Labels, right: Floats) -> float:
    return float(np.mean([right[labels == each].mean() for each in (0, 1)]))


_COMPARING: dict[str, tuple[Callable[..., float], Callable[..., Floats]]] = {
    "balanced_accuracy": (_mean_recall, balanced_accuracy_influence),
    "roc_auc": (roc_auc_score, roc_auc_influence),
    "average_precision": (average_precision_score, average_precision_influence),
}


def _compare_classes(metric: str, scored: Scored) -> Measured:
    """A metric that needs both classes, and but for balanced accuracy an order of scores."""
    labels, given, reason = scored.labels, scored.logits, scored.no_order
    if metric == "balanced_accuracy":
        given, reason = scored.right, scored.only_class
    if reason:
        return Measured(metric, None, math.nan, len(labels), reason=reason)
    measure_it, influence = _COMPARING[metric]
    value = float(measure_it(labels, given))
    # where nothing varies, only as many groups agree as the smaller class has
    known_by = min(len(np.unique(scored.groups[labels == each])) for each in (0, 1))
    return Measured(metric, None, value, len(labels), influence(labels, given), known_by=known_by)


def _measure_equal_error(scored: Scored) -> Measured:
    name, reason = "equal_error_rate", scored.no_order
    rate = math.nan if reason else equal_error_rate(scored.labels, scored.logits)
    return Measured(name, None, rate, len(scored.labels), reason=reason or _NO_INTERVAL[name])


def equal_error_rate(labels: Labels, scores: Floats) -> float:
    """The rate, in [0, 1], at which false positives and false negatives are equally frequent.

    The ROC curve is interpolated linearly. Both classes are there; fakes have higher scores.
    """
    false_positives, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    # rises from −1, where nothing is called fake, to 1, where everything is
    surplus = false_positives - (1 - found)
    return float(np.interp(0, surplus, false_positives))


def _measure_probabilities(scored: Scored) -> Iterator[Measured]:
    # finite in nats however sure the detector is
    losses = np.logaddexp(0, np.where(scored.labels == 1, -scored.logits, scored.logits))
    yield mean("log_loss", losses)
    yield mean("brier_score", (scored.probabilities - scored.labels) ** 2)


def _measure_calibration(scored: Scored, bins: int) -> Measured:
    name = "expected_calibration_error"
    value = expected_calibration_error(scored.labels, scored.probabilities, bins)
    return Measured(name, None, value, len(scored.labels), reason=_NO_INTERVAL[name])


def expected_calibration_error(labels: Labels, probabilities: Floats, bins: int) -> float:
    """The mean over bins, weighted by their images, of |mean probability − share of fakes|.

    Naeini et al. 2015, as in scikit-learn's calibration_curve: bins of equal width over the fake
    probability. (Guo et al. 2017 bin the probability of whatever class was called instead.)
    """
    # each bin is closed above, the first also below
    places = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], probabilities)
    surplus = np.bincount(places, weights=probabilities - labels, minlength=bins)
    return float(np.abs(surplus).sum() / len(labels))


def bin_reliability(scored: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Mean fake probability and share of fakes in 5 to 8 bins with about as many images each.

    The reliability of Murphy and Winkler 1977, in quantiles of the fake probability. Equal scores
    stay together, so there can be fewer bins.

    Returns:
        A row for each bin: lower and upper (its lowest and highest score), images,
        mean_probability, share_of_fakes, low and high (its interval between groups; NaN for a
        single group), all but images in [0, 1].
    """
    scores = scored["fake_probability"].to_numpy(dtype=np.float64)
    bins = int(np.clip(len(scores) // _IMAGES_OF_BIN, *_BINS))
    inner = np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1]) if len(scores) else []
    places, rows = np.searchsorted(inner, scores), []
    for place in np.unique(places):
        part = scored[places == place]
        fakes, of_part = part["label"].to_numpy(dtype=np.float64), scores[places == place]
        share = float(fakes.mean())
        influence = share_influence(fakes, np.ones(len(fakes)))
        ends = interval(share, influence, part["group"].to_numpy(), confidence)
        rows.append((of_part.min(), of_part.max(), len(part), of_part.mean(), share, *ends))
    names = ["lower", "upper", "images", "mean_probability", "share_of_fakes", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def _measure_classes(scored: Scored) -> Iterator[Measured]:
    labels, predicted, level = scored.labels, scored.predicted, scored.level
    of_fake, of_real, *of_kinds = _measure_recalls(scored)
    for index, recall in ((1, of_fake), (0, of_real)):
        name = CLASS_NAMES[index]
        there, called = labels == index, predicted == index
        right = there & called
        none_called, none_there = f"no {level} was called {name}", f"there are no {name} {level}s"
        yield share("precision", name, right, called, int(called.sum()), none_called)
        yield recall
        both = there.astype(int) + called.astype(int)
        yield share("f1", name, 2 * right, both, len(labels), f"{none_there} and {none_called}")
    yield from of_kinds
    yield from _measure_areas_of_kinds(scored)


def _measure_recalls(scored: Scored) -> Iterator[Measured]:
    labels, right, level = scored.labels, scored.right, scored.level
    for index in (1, 0):
        name, there = CLASS_NAMES[index], labels == index
        reason = f"there are no {name} {level}s"
        yield share("recall", name, right * there, there, int(there.sum()), reason)
    recalls = []
    for kind in scored.fake_kinds:
        there = (scored.kinds == kind) & (labels == 1)
        recalls.append(share(RECALL_OF_KIND, str(kind), right * there, there, int(there.sum())))
    yield from recalls
    yield from _average_kinds(MEAN_RECALL, recalls, int((labels == 1).sum()))


def _measure_areas_of_kinds(scored: Scored) -> Iterator[Measured]:
    areas = [_compare_kind(scored, kind) for kind in scored.fake_kinds]
    yield from areas
    yield from _average_kinds(MEAN_AUC, areas, len(scored.labels))


def _average_kinds(metric: str, kinds: list[Measured], n: int) -> Iterator[Measured]:
    """The mean over kinds of fake, each counted equally; nothing for one, since it is itself."""
    if len(kinds) < 2:
        return
    value = float(np.mean([each.value for each in kinds]))
    reason = next((each.reason for each in kinds if each.reason), None)
    influences = [each.influence for each in kinds if each.influence is not None]
    influence = None if reason else np.asarray(np.mean(influences, axis=0))
    known = [each.known_by for each in kinds if each.known_by]
    counts = np.any([each.counts for each in kinds if each.counts is not None], axis=0)
    yield Measured(metric, None, value, n, influence, counts, min(known, default=None), reason)


def _compare_kind(scored: Scored, kind: str) -> Measured:
    among = (scored.labels == 0) | (scored.kinds == kind)
    found = _compare_classes("roc_auc", scored.take(among))
    influence = None
    if found.influence is not None:
        influence = np.zeros(len(among))
        influence[among] = found.influence
    return replace(found, metric=AUC_OF_KIND, class_name=kind, influence=influence, counts=among)


def _measure_sure(scored: Scored) -> Iterator[Measured]:
    """How many verdicts are sure, and how many of these are wrong, in all and in each class."""
    if scored.verdicts is None:
        return
    sure = scored.verdicts != "unsure"
    yield mean("sure_share", sure.astype(np.float64))
    classes = ((None, sure), *((name, sure & (scored.labels == at)) for at, name in _BY_LABEL))
    for name, among in classes:
        reason = f"no verdict of {name or 'any'} {scored.level} is sure"
        wrong = (1 - scored.right) * among
        yield share("error_of_sure", name, wrong, among, int(among.sum()), reason)


def measure_unlikeness(scored: Scored) -> Iterator[Measured]:
    """How unlike training the images are, and the accuracy without the most unlike tenth."""
    if scored.unlikeness is None:
        return
    yield mean(UNLIKENESS, scored.unlikeness)
    likest = scored.unlikeness <= np.quantile(scored.unlikeness, _LIKEST)
    yield share("accuracy_of_likest", None, scored.right * likest, likest, int(likest.sum()))


def _count(scored: Scored) -> Iterator[Measured]:
    matrix = confusion_matrix(scored.labels, scored.predicted, labels=[0, 1])
    for name, count in zip(COUNTS, matrix.ravel(), strict=True):
        yield Measured(name, None, float(count), len(scored.labels))
