"""Nodes of `paired_comparison`."""

import logging
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import unpack_hashes
from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.caveats import join_notes
from deepfake_detection.metrics.predicting import (
    check_unseen,
    predict,
    request_scored_pixels,
)
from deepfake_detection.metrics.several_detectors import compare_all, judging_of
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import EvaluationParameters, PairedComparisonParameters
from deepfake_detection.reports.paired_figure import draw_pairs

log = logging.getLogger(__name__)

# Each with its name in tables, and what messages call it
Named = Iterable[tuple[str, str, Detector]]
# Of two detectors; of more, the figures of the first two
_SHOWN = ("accuracy", "roc_auc", "balanced_accuracy", "recall", "brier_score", "log_loss")


def score_both(
    detector: Detector,
    other_detector: Detector,
    training_images: Path,
    split: pd.DataFrame,
    compared_pixels: PixelCache,
    pixels: str,
    evaluation: EvaluationParameters,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score the validation and test subsets of a split with two detectors, as `score_named`.

    Their names are their backbones and the start of their fingerprints.
    """
    cards = (detector.card, other_detector.card)
    names = [f"{card.backbone} {card.run_fingerprint[:12]}" for card in cards]
    if names[0] == names[1]:
        # one run, calibrated in two ways
        names[1] += " (other)"
    said = ("the detector", "the other detector")
    named = list(zip(names, said, (detector, other_detector), strict=True))
    return _score(lambda: named, training_images, split, compared_pixels, pixels, evaluation)


def score_named(
    detector_files: Callable[[str], Detector],
    paired_comparison: PairedComparisonParameters,
    training_images: Path,
    split: pd.DataFrame,
    compared_pixels: PixelCache,
    pixels: str,
    evaluation: EvaluationParameters,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score the validation and test subsets of a split with each detector that is named.

    One detector is in memory at a time.

    Returns:
        The predictions of `predict`, with column detector; and by detector, as JSON: threshold,
        temperature, source_score, run_fingerprint and notes, by subset: why its scores are biased.

    Raises:
        UserError: If one was trained on some of these images, or there are none.
    """

    def named() -> Named:
        for name, path in paired_comparison.detectors.items():
            yield name, f"detector {name}", detector_files(path)

    return _score(named, training_images, split, compared_pixels, pixels, evaluation)


def _score(
    named: Callable[[], Named],
    training_images: Path,
    split: pd.DataFrame,
    compared_pixels: PixelCache,
    pixels: str,
    evaluation: EvaluationParameters,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    scored = split[split["subset"] != "train"]
    if scored.empty:
        raise UserError(
            "the split has no validation and no test subset to compare detectors on: set "
            "split.ratios and run kedro run --pipelines data_preparation again"
        )
    described: dict[str, Any] = {}
    requests: dict[tuple[int, int], PixelRequest] = {}
    # all are checked before the first is scored
    for name, said, detector in named():
        check_unseen(detector, scored, said)
        described[name] = judging_of(detector.card) | {
            "run_fingerprint": detector.card.run_fingerprint,
            "notes": {
                str(subset): _explain(of_subset, split, detector, said)
                for subset, of_subset in scored.groupby("subset", sort=False)
            },
        }
        sizes = detector.preprocessing
        requests[sizes.resize, sizes.crop] = request_scored_pixels(
            training_images, split, detector, pixels
        )
    for request in requests.values():
        compared_pixels.build(request)
    predictions = [
        predict(detector, split, scored, compared_pixels, evaluation, said).assign(detector=name)
        for name, said, detector in named()
    ]
    return pd.concat(predictions, ignore_index=True), described


def compare_predictions(
    compared_predictions: pd.DataFrame,
    compared_detectors: dict[str, Any],
    split_summary: dict[str, Any],
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Compute the paired differences of all detectors' metrics, by pair, subset and level.

    Columns are those of `compare_scored`.

    Raises:
        UserError: If the predictions are not of the same images.
    """
    predictions = {
        str(name): rows.drop(columns="detector")
        for name, rows in compared_predictions.groupby("detector", sort=False)
    }
    table = compare_all(predictions, compared_detectors, evaluation.confidence)
    notes = {
        (name, other, subset): join_notes(note, compared_detectors[other]["notes"][subset])
        for name, other in combinations(compared_detectors, 2)
        for subset, note in compared_detectors[name]["notes"].items()
    }
    keys = zip(table["detector"], table["other_detector"], table["subset"], strict=True)
    table["note"] = [
        join_notes(note if isinstance(note, str) else None, notes[key])
        for note, key in zip(table["note"], keys, strict=True)
    ]
    _log_differences(table, notes)
    if split_summary["note"]:
        log.info("%s", split_summary["note"])
    return table


def show_pairs(
    paired_differences: pd.DataFrame,
    split_summary: dict[str, Any],
    evaluation: EvaluationParameters,
) -> Figure:
    """Draw the differences of ROC AUC and accuracy of each pair."""
    return draw_pairs(paired_differences, evaluation.confidence, split_summary["note"])


def _explain(
    scored: pd.DataFrame, split: pd.DataFrame, detector: Detector, said: str
) -> str | None:
    """Explain why the scores of these images may be biased; None if they are not."""
    notes = []
    chosen = choices_on_validation(detector.card.calibration)
    if chosen and scored["sha256"].isin(unpack_hashes(detector.validated_on)).any():
        notes.append(f"these images were used to choose {chosen} of {said}")
    if detector.card.imported_from is not None:
        notes.append(f"the training images of {said} are unknown: these may be among them")
    learned = split.loc[split["sha256"].isin(unpack_hashes(detector.trained_on)), "group"]
    if neighbours := int(scored["group"].isin(learned).sum()):
        notes.append(f"inflated: {said} was trained on neighbours of {neighbours} of these images")
    return join_notes(*notes)


def _log_differences(table: pd.DataFrame, notes: dict[tuple[str, str, str], str | None]) -> None:
    metrics = _SHOWN if len(notes) <= table["subset"].nunique() else _SHOWN[:2]
    shown = table[(table["level"] == "image") & table["metric"].isin(metrics)]
    for key, rows in shown.groupby(["detector", "other_detector", "subset"], sort=False):
        name, other, subset = map(str, key)
        figures = ", ".join(_write_difference(row) for _, row in rows.iterrows())
        note = notes[name, other, subset]
        log.info(
            "%s minus %s on %s: %s%s", name, other, subset, figures, f" ({note})" if note else ""
        )


def _write_difference(row: pd.Series) -> str:
    name = row["metric"].replace("_", " ")
    if isinstance(row["class_name"], str):
        name = f"{name} of {row['class_name']}"
    if pd.isna(row["difference"]):
        return f"{name} undefined"
    if pd.isna(row["low"]):
        return f"{name} {row['difference']:+.4f}"
    ends = f"{row['low']:+.3f} to {row['high']:+.3f}"
    return f"{name} {row['difference']:+.4f} ({ends}, p {row['p_holm']:.2g})"
