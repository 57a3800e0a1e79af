"""Nodes of `robustness`: the scored pictures again, under distortions."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.errors import UserError
from deepfake_detection.images.distortions import Distortion, list_distortions
from deepfake_detection.images.group_sample import draw_groups
from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.caveats import EXTERNAL, check_same_run, explain_subset
from deepfake_detection.metrics.intervals import Floats
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import EvaluationParameters, RobustnessParameters
from deepfake_detection.pipelines.robustness.renditions import score_renditions
from deepfake_detection.pipelines.robustness.table import measure_distortions
from deepfake_detection.reports.robustness_figure import draw_robustness

log = logging.getLogger(__name__)

# Of logits that should be the same, relative and absolute.
_TOLERANCE = 1e-4
_NAMED_FILES = 3


@dataclass(frozen=True)
class DistortedScores:
    """Images of one subset, scored under each distortion."""

    scored: pd.DataFrame  # a row for each image, as in the predictions
    distortions: list[Distortion]  # the first is `none`
    logits: Floats  # float64, [images, distortions]: fake minus real, without temperature
    distances: Floats  # float64, [images, distortions]: see `TrainingDistance`; NaN if unknown


def score_distorted(
    detector: Detector,
    predictions: pd.DataFrame,
    metrics: Mapping[str, Any],
    training_images: Path,
    robustness: RobustnessParameters,
    evaluation: EvaluationParameters,
) -> DistortedScores:
    """Score the images of one subset again, from their files, under each distortion.

    A file that can no longer be read is left out of all strengths, with a warning. A warning also
    says where the undistorted pictures score differently than in the predictions.

    Raises:
        UserError: If the predictions are of another detector, or none of the images can be read.
    """
    check_same_run(detector.card.run_fingerprint, predictions=predictions, metrics=metrics)
    scored = choose_images(predictions, robustness)
    distortions = list_distortions(robustness)
    paths = scored["path"].tolist()
    logits, distances, problems = score_renditions(
        detector, training_images, paths, distortions, robustness.seed, evaluation
    )
    if problems:
        _warn_of_unreadable(problems, training_images, len(scored))
    readable = ~scored["path"].isin(problems).to_numpy()
    kept = DistortedScores(
        scored[readable].reset_index(drop=True), distortions, logits[readable], distances[readable]
    )
    _compare_with_predictions(kept.logits[:, 0], kept.scored)
    return kept


def choose_images(predictions: pd.DataFrame, robustness: RobustnessParameters) -> pd.DataFrame:
    """The images of the subset that is asked for, or whole groups drawn from them.

    Their rows are in the order of the predictions (subset, class_name, group and others).

    Raises:
        UserError: If that subset was not scored.
    """
    scored_ones = set(predictions["subset"])
    wanted: str = robustness.subset
    if wanted == "auto":
        wanted = next((name for name in ("test", EXTERNAL) if name in scored_ones), "validation")
    if wanted not in scored_ones:
        raise UserError(
            f"parameter 'robustness.subset': the predictions hold no image of {wanted}, only of "
            f"{', '.join(sorted(scored_ones)) or 'nothing'}. Set split.ratios.{wanted} above 0 and "
            "train again, or ask for another subset."
        )
    scored = predictions[predictions["subset"] == wanted].reset_index(drop=True)
    most = robustness.most_images
    if most is None or len(scored) <= most:
        return scored
    drawn = draw_groups(scored, most, robustness.seed)
    log.info(
        "Of %d images of %s %d are distorted, whole groups drawn by class (robustness.most_images)",
        len(scored), wanted, len(drawn),
    )  # fmt: skip
    return drawn


def measure_robustness(
    robustness_scores: DistortedScores, detector: Detector, evaluation: EvaluationParameters
) -> pd.DataFrame:
    """Measure accuracy, ROC AUC, both recalls and unlikeness under each distortion.

    Returns:
        A row for each distortion, strength and metric, from mild to strong: run_fingerprint,
        subset, distortion, strength, strength_name, metric, class_name, value, low, high, n, and
        the difference from the undistorted pictures, paired by image: difference,
        difference_low, difference_high, and corrected_low, corrected_high: its interval corrected
        for both recalls under all distortions (Bonferroni); note.
    """
    card, scores = detector.card, robustness_scores
    subset = str(scores.scored["subset"].iloc[0])
    table = measure_distortions(
        scores.scored,
        scores.distortions,
        scores.logits,
        detector.unlikeness(scores.distances),
        card,
        subset,
        evaluation.confidence,
    )
    table.insert(0, "run_fingerprint", card.run_fingerprint)
    caveats = explain_subset(subset, card.split["method"], choices_on_validation(card.calibration))
    notes = zip(table["note"], table["value"].notna(), strict=True)
    table["note"] = [
        "; ".join(each for each in (note, known and caveats) if isinstance(each, str)) or None
        for note, known in notes
    ]
    _log_strongest(table, caveats)
    if card.split["note"]:
        log.info("%s", card.split["note"])
    return table


def show_robustness(robustness_table: pd.DataFrame, metrics: Mapping[str, Any]) -> Figure:
    """Draw how each distortion changes recall and specificity."""
    return draw_robustness(robustness_table, metrics["note"])


def _warn_of_unreadable(problems: Mapping[str, str], folder: Path, scored: int) -> None:
    named = [f"{path} ({reason})" for path, reason in problems.items()]
    more = f" and {len(named) - _NAMED_FILES} more" if len(named) > _NAMED_FILES else ""
    listed = ", ".join(named[:_NAMED_FILES]) + more
    if len(problems) == scored:
        raise UserError(
            f"none of the {scored} scored images can be read any more in {folder}: {listed}. Put "
            "them back, or run kedro run --pipelines data_preparation,training,evaluation again."
        )
    log.warning(
        "%d of the %d scored images can no longer be read and are left out of all strengths: %s",
        len(problems), scored, listed,
    )  # fmt: skip


def _compare_with_predictions(logits: Floats, scored: pd.DataFrame) -> None:
    before = scored["logit"].to_numpy(dtype=np.float64)
    other = ~np.isclose(logits, before, rtol=_TOLERANCE, atol=_TOLERANCE)
    if other.any():
        first = int(np.argmax(other))
        log.warning(
            "%d of %d undistorted images score differently than in the predictions, the first is "
            "%s (logit %.4f, there %.4f): files have changed since, or another device scored them. "
            "The changes below are against the new scores; kedro run --pipelines evaluation makes "
            "the predictions anew",
            other.sum(), len(scored), scored["path"].iloc[first], logits[first], before[first],
        )  # fmt: skip


def _log_strongest(table: pd.DataFrame, caveats: str | None) -> None:
    plain = table[table["distortion"] == "none"]
    subset = table["subset"].iloc[0]
    for _, rows in table[table["distortion"] != "none"].groupby("distortion", sort=False):
        strongest = rows[rows["strength_name"] == rows["strength_name"].iloc[-1]]
        changes = ", ".join(
            f"{name} {_value(plain, metric)} → {_value(strongest, metric)}"
            for metric, name in (("accuracy", "accuracy"), ("roc_auc", "ROC AUC"))
        )
        log.info(
            "Robustness on %s, %s: %s%s",
            subset, strongest["strength_name"].iloc[0], changes, f" ({caveats})" if caveats else "",
        )  # fmt: skip


def _value(rows: pd.DataFrame, metric: str) -> str:
    value = rows.loc[rows["metric"] == metric, "value"].iloc[0]
    return "undefined" if pd.isna(value) else f"{value:.4f}"
