"""Nodes of `evaluation`: from a detector and labelled images to predictions and metrics."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from deepfake_detection.images.fingerprints import unpack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.caveats import EXTERNAL, check_same_run, explain_subset, join_notes
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.metrics.metrics import measure
from deepfake_detection.metrics.predicting import KEPT_COLUMNS, check_split, predict
from deepfake_detection.metrics.source_scores import score_sources
from deepfake_detection.models.detector import CLASS_NAMES, Detector
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import EvaluationParameters, ImageSetParameters
from deepfake_detection.pipelines.evaluation.label_issues import rank_label_issues
from deepfake_detection.reports.words import counted

log = logging.getLogger(__name__)

_KEYS = ["metric", "level", "class_name"]
_FIGURES = ["value", "low", "high", "n"]


def take_all_images(
    image_index: pd.DataFrame, detector: Detector, image_set: ImageSetParameters
) -> pd.DataFrame:
    """Make a set from elsewhere into a split: the subset `external`.

    Images that chose the epoch or the calibration of the detector are `validation`, before it.
    """
    if image_set.note:
        log.info("%s", image_set.note)
    # what other programs were trained on is unknown
    if detector.card.other_program is None:
        _compare_crops(image_index, detector.card.split.get("crop_recipe"))
    chose = image_index["sha256"].isin(unpack_hashes(detector.validated_on))
    chosen = choices_on_validation(detector.card.calibration)
    if chosen and chose.any():
        log.warning(
            "%d of these %d images chose %s of the detector, the first being %s: they are scored "
            "apart, as validation",
            chose.sum(), len(chose), chosen, image_index.loc[chose, "path"].iloc[0],
        )  # fmt: skip
    subsets = chose.map({True: "validation", False: EXTERNAL}) if chosen else EXTERNAL
    split = image_index.assign(subset=subsets)[["sha256", *KEPT_COLUMNS]]
    return put_validation_first(split)


def put_validation_first(split: pd.DataFrame) -> pd.DataFrame:
    """The rows of `validation`, then those of `external`, whose figures are told last."""
    return split.sort_values("subset", ascending=False, kind="stable", ignore_index=True)


def _compare_crops(image_index: pd.DataFrame, recipe: Mapping[str, Any] | None) -> None:
    """Warn if faces were cropped in another way than those of the detector's training."""
    texts = set(image_index["crop_recipe"].dropna())
    if recipe and not texts:
        log.warning(
            "The detector was trained on crops by face_extraction, and these images were cropped "
            "elsewhere, or not at all, which changes its scores"
        )
    if recipe is None:
        if texts:
            log.warning("The detector was trained on crops made elsewhere, not by face_extraction")
        return
    # what an older recipe lacks is null in others
    differing = sorted(
        {
            name
            for other in map(json.loads, texts)
            for name in other.keys() | recipe.keys()
            if other.get(name) != recipe.get(name)
        }
    )
    if not differing:
        return
    log.warning(
        "The faces were cropped by another recipe than the detector's (%s), which changes its "
        "scores: extract them with its settings of face_extraction", ", ".join(differing),
    )  # fmt: skip


def predict_split(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelCache,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Score the validation and test subsets of the split that a detector was trained on.

    Rows and further errors are as in `predict`.

    Raises:
        UserError: If the detector was trained on another split.
    """
    check_split(detector, split)
    scored = split[split["subset"] != "train"]
    return predict(detector, split, scored, scored_pixels, evaluation)


def predict_external(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelCache,
    evaluation: EvaluationParameters,
) -> pd.DataFrame:
    """Score all images of a set from elsewhere; rows and errors are as in `predict`."""
    return predict(detector, split, split, scored_pixels, evaluation)


def measure_predictions(
    predictions: pd.DataFrame, detector: Detector, evaluation: EvaluationParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure each scored subset as `make_metrics`, and log the main figures.

    Raises:
        UserError: If the predictions are of another run than the detector.
    """
    check_same_run(detector.card.run_fingerprint, predictions=predictions)
    table, metrics = make_metrics(predictions, detector, evaluation)
    _log_metrics(metrics)
    for subset in metrics["subsets"]:
        if question := ask_whether_swapped(table[table["subset"] == subset]):
            log.warning("%s: %s", subset, question)
    few = evaluation.few_groups
    for subset, groups in predictions.groupby("subset", sort=False)["group"].nunique().items():
        if groups < few:
            log.warning(
                "%s holds only %s of images (few: below %d): read its intervals as rough",
                subset, counted(groups, "group"), few,
            )  # fmt: skip
    return table, metrics


def ask_whether_swapped(metric_table: pd.DataFrame) -> str | None:
    """A question where the metrics of one subset are those of real and fake swapped.

    ROC AUC is clearly below 0.5, and neither class is recognised (where that is known).
    """
    images = metric_table[metric_table["level"] == "image"].set_index("metric")
    area, recalls = images.loc["roc_auc"], images.loc[["recall"], "value"]
    # NaN compares false
    if area["high"] < 0.5 and not (recalls >= 0.5).any():
        return (
            f"ROC AUC {area['value']:.2f} ({area['low']:.2f} to {area['high']:.2f}) is below "
            "0.5: are real and fake swapped, in the scores or in the labels?"
        )
    return None


def make_metrics(
    predictions: pd.DataFrame, detector: Detector, evaluation: EvaluationParameters
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure each scored subset, image by image and source by source.

    Returns:
        The metric table, a row for each `Metric`; and the same as nested JSON, with the
        fingerprints of the run and its split.
    """
    card = detector.card
    chosen = choices_on_validation(card.calibration)
    source_score = SourceScore.of(card.calibration)
    sources = score_sources(predictions, card.threshold, card.temperature, source_score)
    probabilities = sources["fake_probability"].to_numpy(dtype=np.float64)
    # the verdict of a source is unsure near the threshold; no training distance is taken of it
    unknown = np.full(len(sources), np.nan)
    sources["verdict"] = detector.verdict_rule.judge(probabilities, unknown)[0]
    rows = [
        metric
        for level, table in (("image", predictions), ("source", sources))
        for subset, of_subset in table.groupby("subset", sort=False)
        for metric in measure(
            of_subset,
            str(subset),
            level,
            confidence=evaluation.confidence,
            calibration_bins=evaluation.calibration_bins,
            temperature=card.temperature,
        )
    ]
    table = pd.DataFrame([asdict(row) for row in rows])
    method = card.split["method"]
    caveats = {name: explain_subset(name, method, chosen) for name in table["subset"].unique()}
    table["note"] = [
        row.note if math.isnan(row.value) else join_notes(row.note, caveats[row.subset])
        for row in rows
    ]
    metrics = {
        "run_fingerprint": card.run_fingerprint,
        "split_fingerprint": card.split["fingerprint"],
        "threshold": card.threshold,
        "temperature": card.temperature,
        "source_score": source_score.as_json(),
        "chosen_on_validation": chosen,
        "split_method": method,
        "note": card.split["note"],
        "rows": {"predictions": len(predictions), "metric_table": len(table)},
        "subsets": _nest(table),
    }
    return table, metrics


def compare_with_own_split(
    metric_table: pd.DataFrame, detector: Detector, finished_scores: FinishedScores
) -> pd.DataFrame:
    """Put a detector's metrics on a set from elsewhere beside those on its own split, if known.

    Columns as in `put_beside`.
    """
    own = finished_scores.find_metric_table(detector.card.run_fingerprint)
    beside = put_beside(metric_table, own)
    # of other programs nothing can be made
    if own is None and detector.card.imported_from is None:
        log.info(
            "The scores of this detector on its own split are not known here, so nothing stands "
            "beside these: kedro run --pipelines evaluation makes them (with its model=… or run=…)"
        )
        return beside
    by_image = beside[(beside["level"] == "image") & beside["class_name"].isna()]
    for line in by_image[by_image["metric"].isin(["accuracy", "roc_auc"])].to_dict("records"):
        own_figures, external = (
            _figures({name: line[f"{whose}_{name}"] for name in _FIGURES})
            for whose in ("own", "external")
        )
        log.info(
            "Own %s to this set: %s %s to %s",
            line["own_subset"], line["metric"].replace("roc_auc", "ROC AUC"), _say(own_figures),
            _say(external),
        )  # fmt: skip
    return beside


def put_beside(external: pd.DataFrame, own: pd.DataFrame | None) -> pd.DataFrame:
    """Put the metric tables of a set from elsewhere and of a detector's own split side by side.

    The sets hold different images, so there is no paired difference: read the two intervals. Of the
    own split, the test subset is taken, or validation where there is no test; it may be unknown.

    Returns:
        A row for each metric, level and class: metric, level, class_name; own_subset, own_value,
        own_low, own_high, own_n; external_value, external_low, external_high, external_n. Classes
        that only one of the two has are missing in the other.
    """
    beside = _prefixed(external[external["subset"] == EXTERNAL], "external_")
    if own is not None:
        subset = "test" if (own["subset"] == "test").any() else "validation"
        ours = _prefixed(own[own["subset"] == subset], "own_").assign(own_subset=subset)
        beside = ours.merge(beside, on=_KEYS, how="outer", sort=False)
        # in the order of a metric table, which an outer merge loses
        order = {metric: at for at, metric in enumerate(dict.fromkeys(own["metric"]))}
        beside = beside.sort_values(
            "metric", key=lambda names: names.map(order), kind="stable", ignore_index=True
        )
    ours_and_theirs = (f"{whose}_{name}" for whose in ("own", "external") for name in _FIGURES)
    return beside.reindex(columns=[*_KEYS, "own_subset", *ours_and_theirs])


def _prefixed(table: pd.DataFrame, prefix: str) -> pd.DataFrame:
    kept = table[[*_KEYS, *_FIGURES]].astype({"class_name": object})
    return kept.rename(columns={name: f"{prefix}{name}" for name in _FIGURES})


def list_label_issues(
    predictions: pd.DataFrame, detector: Detector, evaluation: EvaluationParameters
) -> pd.DataFrame:
    """List the scored images whose own label has the lowest predicted probability, in all subsets.

    They are candidates for images in the wrong class folder; many are the detector's own errors.
    Columns as in `rank_label_issues`.
    """
    card = detector.card
    # without a scale, no score says that a label is improbable
    if not card.has_scale:
        predictions = predictions.head(0)
    issues = rank_label_issues(
        predictions, card.temperature, evaluation.label_issues, SourceScore.of(card.calibration)
    )
    if len(issues):
        first = issues.iloc[0]
        log.info(
            "Labels to look at: %d images, first %s (%s), whose label %s has a probability of %.2g",
            len(issues), first["path"], first["subset"],
            CLASS_NAMES[first["label"]], first["label_probability"],
        )  # fmt: skip
    return issues


def _figures(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Value, interval and number of a row; None for what is not a number."""
    return {name: None if math.isnan(row[name]) else row[name] for name in _FIGURES}


def _nest(table: pd.DataFrame) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for row in table.to_dict("records"):
        level = nested.setdefault(str(row["subset"]), {}).setdefault(f"{row['level']}s", {})
        figures = _figures(row)
        if isinstance(row["class_name"], str):
            level.setdefault(row["metric"], {})[row["class_name"]] = figures
        else:
            level[row["metric"]] = figures
    return nested


def _say(figures: dict[str, float | None]) -> str:
    if figures["value"] is None:
        return "undefined"
    ends = "" if figures["low"] is None else f" ({figures['low']:.2f}–{figures['high']:.2f})"
    return f"{figures['value']:.4f}{ends}"


def _log_metrics(metrics: dict[str, Any]) -> None:
    for subset, levels in metrics["subsets"].items():
        images = levels["images"]
        log.info(
            "Score on %s: accuracy %s, ROC AUC %s",
            subset, _say(images["accuracy"]), _say(images["roc_auc"]),
        )  # fmt: skip
        recall = images["recall"]
        log.info(
            "  recall of fakes %s, of real ones %s", _say(recall["fake"]), _say(recall["real"])
        )
        basis = explain_subset(subset, metrics["split_method"], metrics["chosen_on_validation"])
        if basis:
            log.info("  (%s)", basis)
    headline = "test" if "test" in metrics["subsets"] else list(metrics["subsets"])[-1]
    _log_kinds_and_sources(metrics, headline, metrics["subsets"][headline])
    if metrics["note"]:
        log.info("%s", metrics["note"])


def _log_kinds_and_sources(metrics: dict[str, Any], subset: str, levels: dict[str, Any]) -> None:
    images, by_source = levels["images"], levels["sources"]
    recalls, areas = images["recall_of_kind"], images["roc_auc_of_kind"]
    # of one kind, all fakes are told already
    if len(areas) > 1:
        log.info("Each kind of fake on %s:", subset)
        for kind, area in areas.items():
            log.info("  %s: ROC AUC %s, recall %s", kind, _say(area), _say(recalls[kind]))
    if by_source["accuracy"]["n"] < images["accuracy"]["n"]:
        log.info(
            "By source (%s) on %s: accuracy %s, ROC AUC %s",
            SourceScore.of(metrics).rule.replace("_", " "), subset,
            _say(by_source["accuracy"]), _say(by_source["roc_auc"]),
        )  # fmt: skip
