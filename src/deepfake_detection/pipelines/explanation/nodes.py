"""Nodes of `explanation`: heat maps of false and right cases, and measures of the false ones."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.metrics.cases import FALSE_KINDS, KINDS, ExplainedCase, Kind, rank_cases
from deepfake_detection.metrics.caveats import check_same_run
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.devices import choose_device
from deepfake_detection.models.heat_maps import HeatMaps
from deepfake_detection.parameters import EvaluationParameters, ExplanationParameters
from deepfake_detection.pipelines.explanation.comparing import compare_false_cases
from deepfake_detection.pipelines.explanation.explaining import explain_rows
from deepfake_detection.pipelines.explanation.heat_map_figure import draw_cases
from deepfake_detection.pipelines.explanation.impressions import answer_impressions
from deepfake_detection.pipelines.explanation.region_statistics import measure_pictures
from deepfake_detection.reports.effects import draw_effects

log = logging.getLogger(__name__)


def explain_cases(
    detector: Detector,
    metrics: Mapping[str, Any],
    predictions: pd.DataFrame,
    folder: Path,
    explanation: ExplanationParameters,
    evaluation: EvaluationParameters,
) -> list[ExplainedCase]:
    """Heat maps of the headline subset's false cases and of its most certain right ones.

    Of each kind those with the most confident verdicts. The examples come first, no two of one
    source, since images of one source are nearly the same; then more of the false cases.

    Args:
        detector: What scored them.
        metrics: With the `run_fingerprint` of the detector that the predictions are of.
        predictions: A row for each scored image: path, class_name, label, source, subset, logit,
            fake_probability, predicted.
        folder: The image folder.
        explanation: How many cases of each kind, and how fine their heat maps are.
        evaluation: Batch size and device.

    Returns:
        Kind by kind. A picture that is missing or unreadable has no heat map, and its `problem`
        says so.

    Raises:
        UserError: If the predictions are of another detector.
    """
    check_same_run(detector.card.run_fingerprint, predictions=predictions, metrics=metrics)
    _, scored = headline_predictions(predictions)
    rows = [_choose_rows(scored, kind, explanation) for kind in KINDS]
    heat_maps = HeatMaps(
        detector,
        smallest_grid=explanation.smallest_grid,
        device=choose_device(evaluation.device),
    )
    cases = explain_rows(pd.concat(rows), folder, detector, heat_maps, evaluation.batch_size)
    grid = heat_maps.layer.grid
    log.info(
        "Explained %d pictures at the layer %s: heat maps of %d×%d places",
        sum(case.heat is not None for case in cases), heat_maps.layer.name, grid, grid,
    )  # fmt: skip
    return cases


def _choose_rows(
    scored: pd.DataFrame, kind: Kind, explanation: ExplanationParameters
) -> pd.DataFrame:
    ranked = rank_cases(scored, kind)
    examples = ranked.drop_duplicates(["class_name", "source"]).head(explanation.examples)
    more = ranked.head(explanation.false_cases) if kind in FALSE_KINDS else ranked.head(0)
    return pd.concat([examples, more]).drop_duplicates("path").assign(kind=kind)


def draw_heat_maps(
    explained_cases: list[ExplainedCase], folder: Path, explanation: ExplanationParameters
) -> Figure:
    """Examples of explained cases, a row for each kind: each picture, and beside it its heat map.

    Args:
        explained_cases: With their heat maps.
        folder: The image folder.
        explanation: Cases in a row.
    """
    return draw_cases(explained_cases, folder, explanation.examples)


def measure_false_cases(
    detector: Detector,
    metrics: Mapping[str, Any],
    predictions: pd.DataFrame,
    folder: Path,
    explanation: ExplanationParameters,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """What sets false cases apart from right ones of the same class, measured on the pictures.

    Args:
        detector: What scored them.
        metrics: With the `run_fingerprint` of the detector that the predictions are of.
        predictions: A row for each scored image: path, class_name, label, group, subset,
            predicted.
        folder: The image folder.
        explanation: The regions, and how few groups are too few.
        evaluation: The confidence of the intervals.

    Returns:
        A row for each kind of false case, region and measure, as `compare_false_cases` gives it,
        after `run_fingerprint` and `subset`.

    Raises:
        UserError: If the predictions are of another detector.
    """
    check_same_run(detector.card.run_fingerprint, predictions=predictions, metrics=metrics)
    subset, scored = headline_predictions(predictions)
    measured = measure_pictures(folder, scored["path"].tolist(), explanation.regions)
    table = compare_false_cases(scored, measured, explanation.fewest_groups, evaluation.confidence)
    table.insert(0, "run_fingerprint", detector.card.run_fingerprint)
    table.insert(1, "subset", subset)
    log.info(
        "The reference's impressions of false cases, on %s: %s", subset, answer_impressions(table)
    )
    return table


def draw_false_case_measures(false_case_measures: pd.DataFrame) -> Figure:
    """What sets false cases apart, with intervals, as a figure.

    Args:
        false_case_measures: The table.
    """
    return draw_effects(false_case_measures)
