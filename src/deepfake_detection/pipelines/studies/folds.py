"""The folds of a cross-validation together.

Every image is scored once, by a detector that neither trained on it nor chose anything on it.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detection.metrics.intervals import UNKNOWN, area_interval
from deepfake_detection.metrics.metrics import measure, measure_all
from deepfake_detection.metrics.scored import AUC_OF_KIND, MEAN_AUC, Measured, Metric, Scored
from deepfake_detection.metrics.source_scores import score_sources
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import EvaluationParameters, StudyParameters
from deepfake_detection.pipelines.evaluation.label_issues import rank_label_issues
from deepfake_detection.pipelines.studies.tables import select_results

log = logging.getLogger(__name__)

OUT_OF_FOLD = "out_of_fold"
# Metrics that compare scores with each other, or with one scale. Detectors of different folds share
# none, so these are averaged over folds instead of measured on all images.
_AVERAGED = {
    "roc_auc", AUC_OF_KIND, MEAN_AUC, "average_precision", "equal_error_rate",
    "expected_calibration_error",
}  # fmt: skip


def pool_folds(
    study: StudyParameters, evaluation: EvaluationParameters, **results: Any
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Collect the out-of-fold predictions of a cross-validation, measure them, rank label issues.

    Temperature and threshold are each detector's own, from its validation fold. `results` are
    `metrics:RUN` and `predictions:RUN`.

    Returns:
        The predictions of all images, with row, seed, fold, and logits divided by the temperature;
        metrics at image and source level, and label issues, each by row and seed.
    """
    metrics, predictions = (select_results(results, kind) for kind in ("metrics", "predictions"))
    pooled: dict[str, list[pd.DataFrame]] = {"image": [], "source": []}
    rules: list[SourceScore] = []
    for name, run in study.runs.items():
        card, scored = metrics[name], predictions[name]
        scored = scored[scored["subset"] == "test"].assign(subset=OUT_OF_FOLD)
        rules.append(SourceScore.of(card))
        by_source = score_sources(scored, card["threshold"], card["temperature"], rules[-1])
        fold = run.split.fold and run.split.fold.number
        place = {"row": run.row, "seed": run.training.seed, "fold": fold}
        for level, table in (("image", scored), ("source", by_source)):
            tempered = table.assign(logit=table["logit"] / card["temperature"])
            pooled[level].append(pd.DataFrame(place, index=tempered.index).join(tempered))
    # where the validation folds chose unlike rules, sources are compared by their mean logit
    alike = len({(each.rule, each.top_share) for each in rules}) == 1
    rule = rules[0] if alike else SourceScore()
    measured, issues = [], []
    for level, tables in pooled.items():
        for (row, seed), rows in pd.concat(tables).groupby(["row", "seed"], sort=False):
            place = {"row": row, "seed": seed}
            metrics_here = list(measure_folds(rows, level, evaluation))
            measured += [place | asdict(metric) for metric in metrics_here]
            if level == "image":
                ranked = rank_label_issues(rows, 1.0, evaluation.label_issues, rule)
                issues.append(pd.DataFrame(place, index=ranked.index).join(ranked))
                for each in metrics_here:
                    if each.metric in ("accuracy", "roc_auc"):
                        log.info(
                            "Out of fold, %s, seed %d: %s %.4f (%.2f–%.2f) over %d images",
                            row, seed, each.metric, each.value, each.low, each.high, each.n,
                        )  # fmt: skip
    return (
        pd.concat(pooled["image"], ignore_index=True),
        pd.DataFrame(measured),
        pd.concat(issues, ignore_index=True),
    )


def measure_folds(
    pooled: pd.DataFrame, level: str, evaluation: EvaluationParameters
) -> Iterator[Metric]:
    """Measure out-of-fold predictions.

    Metrics of verdicts and of single probabilities are measured on all folds together, those that
    rank or bin scores are means over the folds. Intervals are between groups, for these detectors.
    """
    given: dict[str, Any] = {
        "confidence": evaluation.confidence,
        "calibration_bins": evaluation.calibration_bins,
        "temperature": 1.0,
    }
    by_fold = []
    for _, rows in pooled.groupby("fold"):
        scored = Scored.of(rows, level, 1.0)
        found = measure_all(scored, evaluation.calibration_bins)
        by_fold.append((scored, {(each.metric, each.class_name): each for each in found}))
    for metric in measure(pooled, OUT_OF_FOLD, level, **given):
        folds = [
            (scored, each)
            for scored, found in by_fold
            if (each := found.get((metric.metric, metric.class_name))) and pd.notna(each.value)
        ]
        if metric.metric in _AVERAGED and folds:
            yield _average(metric, folds, evaluation.confidence)
        else:
            yield metric


def _average(metric: Metric, folds: list[tuple[Scored, Measured]], confidence: float) -> Metric:
    """The mean over folds; interval from the mean of their influences (LeDell et al. 2015)."""
    value = float(np.mean([each.value for _, each in folds]))
    ends = UNKNOWN
    parts = [
        each.counted(each.influence, scored.groups)
        for scored, each in folds
        if each.influence is not None
    ]
    if parts:
        influences, groups = zip(*parts, strict=True)
        ends = area_interval(
            value,
            np.concatenate(influences) / len(folds),
            np.concatenate(groups),
            confidence,
            known_by=sum(each.known_by or 0 for _, each in folds),
        )
    note = "; ".join(filter(None, (f"mean of {len(folds)} folds", metric.note)))
    return replace(metric, value=value, low=ends[0], high=ends[1], note=note)
