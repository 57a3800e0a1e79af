"""Nodes of `explanation`: heat maps of right and wrong verdicts, and measures of the errors."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.images.preprocessing import crop_pixels, seen_box
from deepfake_detection.images.reading import UnreadablePictureError, read_picture
from deepfake_detection.images.region_statistics import measure_pictures
from deepfake_detection.metrics.cases import FALSE_KINDS, KINDS, ExplainedCase, Kind, rank_cases
from deepfake_detection.metrics.caveats import check_same_run
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.devices import choose_device
from deepfake_detection.models.heat_maps import NO_GRID, NOT_FINITE, Heat, HeatMaps
from deepfake_detection.parameters import EvaluationParameters, ExplanationParameters
from deepfake_detection.pipelines.explanation.comparing import check_guesses, compare_false_cases
from deepfake_detection.pipelines.explanation.heat_map_figure import draw_cases
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
    """Heat maps of the headline subset's errors and of its most certain right verdicts.

    Kind by kind, the most confident verdicts. The examples come first, no two of one source, since
    images of one source are nearly the same; then more of the errors. The verdict explained is the
    stored one. A missing or unreadable picture has no heat map, but a `problem`; so has one whose
    heat map is not finite, and every picture where the network has no layer for heat maps.

    Raises:
        UserError: If the predictions or the metrics are of another detector.
    """
    check_same_run(detector.card.run_fingerprint, predictions=predictions, metrics=metrics)
    _, scored = headline_predictions(predictions)
    rows = pd.concat([_choose_rows(scored, kind, explanation) for kind in KINDS])
    device = choose_device(evaluation.device)
    heat_maps: HeatMaps | None = None
    try:
        heat_maps = HeatMaps(detector, smallest_grid=explanation.smallest_grid, device=device)
    except ValueError as error:
        log.warning("No picture has a heat map: %s", error)
    cases, pixels, verdicts = [], [], []
    columns = ["path", "kind", "class_name", "source", "fake_probability"]
    values = rows[columns].itertuples(index=False, name=None)
    for (path, kind, class_name, source, probability), verdict in zip(
        values, rows["predicted"], strict=True
    ):
        case = ExplainedCase(path, kind, class_name, source, probability, heat=None)
        try:
            image = read_picture(folder / path)
        except UnreadablePictureError as error:
            there = (folder / path).exists()
            case = replace(case, problem=f"unreadable: {error}" if there else "missing")
        else:
            if heat_maps is None:
                case = replace(case, problem=NO_GRID)
            case = replace(case, box=seen_box(image.size, detector.preprocessing))
            pixels.append(crop_pixels(image, detector.preprocessing))
            verdicts.append(verdict)
        cases.append(case)
    if heat_maps is None:
        return cases
    if pixels:
        found = heat_maps.explain(
            np.stack(pixels), np.array(verdicts), batch_size=evaluation.batch_size, errors="record"
        )
        heats = iter(found)
        cases = [case if case.problem else _add_heat(case, next(heats)) for case in cases]
        if lost := int(np.isnan(found).any(axis=(1, 2)).sum()):
            log.warning("%d of %d pictures have no heat map: %s", lost, len(found), NOT_FINITE)
    grid = heat_maps.layer.grid
    log.info(
        "Explained %d pictures at layer %s: heat maps of %d×%d places",
        len(pixels), heat_maps.layer.name, grid, grid,
    )  # fmt: skip
    return cases


def _add_heat(case: ExplainedCase, heat: Heat) -> ExplainedCase:
    if np.isnan(heat).any():
        return replace(case, problem=NOT_FINITE)
    return replace(case, heat=heat)


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
    """Draw examples of explained cases, a row for each kind: each picture beside its heat map."""
    return draw_cases(explained_cases, folder, explanation.examples)


def measure_false_cases(
    detector: Detector,
    metrics: Mapping[str, Any],
    predictions: pd.DataFrame,
    folder: Path,
    explanation: ExplanationParameters,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Compare errors with right verdicts of the same class, by measures of the pictures.

    Returns:
        run_fingerprint, subset, and the columns of `compare_false_cases`.

    Raises:
        UserError: If the predictions or the metrics are of another detector.
    """
    check_same_run(detector.card.run_fingerprint, predictions=predictions, metrics=metrics)
    subset, scored = headline_predictions(predictions)
    measured = measure_pictures(folder, scored["path"].tolist(), explanation.regions)
    table = compare_false_cases(scored, measured, explanation.fewest_groups, evaluation.confidence)
    table.insert(0, "run_fingerprint", detector.card.run_fingerprint)
    table.insert(1, "subset", subset)
    log.info("The reference's guesses about its errors, on %s: %s", subset, check_guesses(table))
    return table


def draw_false_case_measures(false_case_measures: pd.DataFrame) -> Figure:
    """Draw how the errors differ from right verdicts, with intervals."""
    return draw_effects(false_case_measures)
