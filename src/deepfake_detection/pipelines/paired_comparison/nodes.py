"""Nodes of `paired_comparison`."""

import logging
from dataclasses import asdict
from typing import Any

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import unpack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.caveats import join_notes
from deepfake_detection.metrics.differences import Difference, measure_differences
from deepfake_detection.metrics.predicting import predict
from deepfake_detection.metrics.source_scores import score_sources
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import EvaluationParameters

log = logging.getLogger(__name__)

_NAMES = ("the detector", "the other detector")
_SHOWN = ("accuracy", "balanced_accuracy", "roc_auc", "recall", "brier_score", "log_loss")


def predict_unseen(
    detector: Detector,
    other_detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelCache,
    other_scored_pixels: PixelCache,
    evaluation: EvaluationParameters,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score the validation and test subsets of a split with two detectors, as `predict`.

    Raises:
        UserError: If one was trained on some of these images, or there are none.
    """
    scored = split[split["subset"] != "train"]
    if scored.empty:
        raise UserError(
            "the split has no validation and no test subset to compare detectors on: set "
            "split.ratios and run kedro run --pipelines data_preparation again"
        )
    return (
        predict(detector, split, scored, scored_pixels, evaluation, _NAMES[0]),
        predict(other_detector, split, scored, other_scored_pixels, evaluation, _NAMES[1]),
    )


def compare_predictions(
    predictions: pd.DataFrame,
    other_predictions: pd.DataFrame,
    detector: Detector,
    other_detector: Detector,
    split: pd.DataFrame,
    split_summary: dict[str, Any],
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Compute the paired differences of two detectors' metrics, by subset and level.

    Columns are those of `Difference`, detector and other_detector.

    Raises:
        UserError: If the predictions are not of the same images.
    """
    pair = (predictions, _align(other_predictions, predictions))
    cards = (detector.card, other_detector.card)
    temperatures = (cards[0].temperature, cards[1].temperature)
    sources = [
        score_sources(each, card.threshold, card.temperature, SourceScore.of(card.calibration))
        for each, card in zip(pair, cards, strict=True)
    ]
    rows: list[Difference] = []
    for level, (ours, others) in (("image", pair), ("source", sources)):
        for subset, of_subset in ours.groupby("subset", sort=False):
            same = others[others["subset"] == subset]
            rows += measure_differences(
                of_subset, same, temperatures, str(subset), level, evaluation.confidence
            )
    notes = {
        str(subset): _explain(of_subset, split, detector, other_detector)
        for subset, of_subset in split.groupby("subset", sort=False)
    }
    table = pd.DataFrame([asdict(row) for row in rows])
    table["note"] = [join_notes(row.note, notes[row.subset]) for row in rows]
    table["detector"], table["other_detector"] = (
        f"{card.backbone} {card.run_fingerprint[:12]}" for card in cards
    )
    _log_differences(table, notes)
    if split_summary["note"]:
        log.info("%s", split_summary["note"])
    return table


def _align(others: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    keys = ["subset", "path", "label"]
    left, right = (set(each[keys].itertuples(index=False, name=None)) for each in (ours, others))
    if left != right or len(ours) != len(others):
        subset, path, _ = min(left ^ right, default=("", "an image given twice", 0))
        raise UserError(
            f"the two detectors were not scored on the same images: {path} ({subset}) is not in "
            "both predictions. Score both on one split: kedro run --pipelines paired_comparison"
        )
    order = ours[["subset", "path"]]
    return order.merge(others, on=["subset", "path"], how="left", validate="one_to_one")


def _explain(
    scored: pd.DataFrame, split: pd.DataFrame, detector: Detector, other_detector: Detector
) -> str | None:
    """Explain why the differences on these images may be biased; None if they are not."""
    notes = []
    for each, name in zip((detector, other_detector), _NAMES, strict=True):
        chosen = choices_on_validation(each.card.calibration)
        if chosen and scored["sha256"].isin(unpack_hashes(each.validated_on)).any():
            notes.append(f"these images were used to choose {chosen} of {name}")
        if each.card.imported_from is not None:
            notes.append(f"the training images of {name} are unknown: these may be among them")
        learned = split.loc[split["sha256"].isin(unpack_hashes(each.trained_on)), "group"]
        if neighbours := int(scored["group"].isin(learned).sum()):
            notes.append(
                f"inflated: {name} was trained on neighbours of {neighbours} of these images"
            )
    return join_notes(*notes)


def _log_differences(table: pd.DataFrame, notes: dict[str, str | None]) -> None:
    shown = table[(table["level"] == "image") & table["metric"].isin(_SHOWN)]
    for subset, rows in shown.groupby("subset", sort=False):
        figures = ", ".join(_write_difference(row) for _, row in rows.iterrows())
        note = f" ({notes[str(subset)]})" if notes[str(subset)] else ""
        log.info("Detector minus other detector on %s: %s%s", subset, figures, note)


def _write_difference(row: pd.Series) -> str:
    name = row["metric"].replace("_", " ")
    if isinstance(row["class_name"], str):
        name = f"{name} of {row['class_name']}"
    if pd.isna(row["difference"]):
        return f"{name} undefined"
    ends = "" if pd.isna(row["low"]) else f" ({row['low']:+.3f} to {row['high']:+.3f})"
    return f"{name} {row['difference']:+.4f}{ends}"
