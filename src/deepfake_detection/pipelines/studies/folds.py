"""What the folds of a cross-validation say together.

Every image is scored once, by a detector that neither trained on it nor chose anything on it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from deepfake_detection.metrics.metrics import average_over_sources, measure
from deepfake_detection.parameters import EvaluationParameters, RunParameters, StudyParameters
from deepfake_detection.pipelines.evaluation.label_issues import rank_label_issues

OUT_OF_FOLD = "out_of_fold"
_SUMMARISED = ("accuracy", "roc_auc")


def pool_predictions(
    study: StudyParameters, metrics: Mapping[str, Mapping[str, Any]], predictions: Mapping[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the test predictions of all folds together.

    Logits are divided by each detector's temperature, and called by its threshold: both come from
    its own validation fold.

    Args:
        study: The study.
        metrics: Of each run, with its detector's card.
        predictions: Of each run, all scored subsets.

    Returns:
        A row for each image, row and seed: row, seed, fold, path, class_name, label, source,
        group, subset (`out_of_fold`), logit, fake_probability, predicted; and the same for each
        source, without path.
    """
    images: list[pd.DataFrame] = []
    sources: list[pd.DataFrame] = []
    for name, run in study.runs.items():
        card = metrics[name]
        scored = predictions[name]
        scored = scored[scored["subset"] == "test"].assign(subset=OUT_OF_FOLD)
        by_source = average_over_sources(scored, card["threshold"], card["temperature"])
        for table, pooled in ((scored, images), (by_source, sources)):
            tempered = table.assign(logit=table["logit"] / card["temperature"])
            place = {"row": run.row, "seed": run.training.seed, "fold": _fold_of(run)}
            pooled.append(pd.DataFrame(place, index=tempered.index).join(tempered))
    return pd.concat(images, ignore_index=True), pd.concat(sources, ignore_index=True)


def _fold_of(run: RunParameters) -> int:
    assert run.split.fold is not None  # noqa: S101  (as everywhere in a cross-validation)
    return run.split.fold.number


def measure_folds(
    images: pd.DataFrame, sources: pd.DataFrame, evaluation: EvaluationParameters
) -> pd.DataFrame:
    """Measure pooled predictions, for each row and seed.

    The intervals are those of the images at hand, between groups; that detectors of other folds
    would differ is the spread over folds.

    Returns:
        row, seed and the columns of a metric table, at image and at source level.
    """
    measured = [
        {"row": row, "seed": seed} | asdict(metric)
        for level, table in (("image", images), ("source", sources))
        for (row, seed), pooled in table.groupby(["row", "seed"], sort=False)
        for metric in measure(
            pooled,
            OUT_OF_FOLD,
            level,
            confidence=evaluation.confidence,
            calibration_bins=evaluation.calibration_bins,
            temperature=1.0,
        )
    ]
    return pd.DataFrame(measured)


def rank_label_issues_by_row(images: pd.DataFrame, most: int) -> pd.DataFrame:
    """The images whose label the out-of-fold predictions doubt most, by each row and seed.

    Returns:
        row, seed, and the columns of `rank_label_issues`.
    """
    found = {
        place: rank_label_issues(pooled, 1.0, most)
        for place, pooled in images.groupby(["row", "seed"], sort=False)
    }
    return pd.concat(found, names=["row", "seed"]).reset_index(["row", "seed"])


def add_pooled(summary: pd.DataFrame, pooled: pd.DataFrame) -> pd.DataFrame:
    """Put pooled figures beside the means over folds, by image.

    With several seeds, the mean of their pooled figures, which has no interval.
    """
    images = pooled[pooled["level"] == "image"]
    filled = summary.copy()
    for at, line in summary.iterrows():
        of_row = images[(images["row"] == line["row"]) & (images["metric"] == line["metric"])]
        if line["metric"] not in _SUMMARISED or of_row.empty:
            continue
        filled.loc[at, "pooled"] = of_row["value"].mean()
        if len(of_row) == 1:
            filled.loc[at, ["pooled_low", "pooled_high"]] = of_row[["low", "high"]].iloc[0].tolist()
    return filled
