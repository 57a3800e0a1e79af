"""The report: one HTML page that needs no other file and no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.metrics.subsets import scored_subsets
from deepfake_detection.pipelines.reporting.cases import choose_cases, fill_tiles, tell_kinds
from deepfake_detection.pipelines.reporting.embedding import embed_heat_scale
from deepfake_detection.pipelines.reporting.figures import (
    confusion_counts,
    draw_accuracy,
    draw_confusion_matrix,
    draw_loss,
    draw_precision_recall,
    draw_roc,
    why_no_curve,
)
from deepfake_detection.pipelines.reporting.headline import pick_cards, weigh_trust, write_verdict
from deepfake_detection.pipelines.reporting.label_issues import show_doubts
from deepfake_detection.pipelines.reporting.measures import (
    list_notes,
    say_differences,
    tabulate_measures,
)
from deepfake_detection.pipelines.reporting.reliability import (
    bin_reliability,
    calibration_error,
    draw_reliability,
)
from deepfake_detection.pipelines.reporting.robustness import say_weakest, tabulate_robustness
from deepfake_detection.pipelines.reporting.tables import compose_data, is_of_run, widen_metrics
from deepfake_detection.reports.curves import best_row
from deepfake_detection.reports.document import render_document
from deepfake_detection.reports.effects import draw_effects
from deepfake_detection.reports.embedded_figures import PageFigure, page_figure
from deepfake_detection.reports.robustness_figure import draw_robustness
from deepfake_detection.reports.settings import flatten_settings
from deepfake_detection.reports.words import counted, percent

_PACKAGE = "deepfake_detection.pipelines.reporting"
_REJECTED_SHOWN = 20


@dataclass(frozen=True)
class Report:
    """All that the page is made of.

    Attributes:
        description: The detector's own, as `describe()` gives it.
        split_summary: method, ratios, seed, images, groups, groups_in_more_than_one_subset,
            fingerprint; and perhaps a note on the images.
        leakage_summary: split_fingerprint, found, compared, settings.
        rejected_images: path, reason.
        history: A row for each epoch.
        predictions: A row for each scored image.
        metric_table: A row for each metric.
        label_issues: A row for each doubted image, the most doubted first.
        robustness_table: A row for each distortion, strength and metric, with run_fingerprint.
        explained_cases: Those of the headline subset that have a heat map; a false case that is
            not among them is shown without.
        false_case_measures: A row for each kind of case, region and measure, with run_fingerprint.
        folder: The image folder.
        cases_shown: Cases of each kind, at most.
        label_issues_shown: Doubted labels, at most.
        calibration_bins: Of the reliability diagram.
        confidence: Of its intervals, such as 0.95.
    """

    description: Mapping[str, Any]
    split_summary: Mapping[str, Any]
    leakage_summary: Mapping[str, Any]
    rejected_images: pd.DataFrame
    history: pd.DataFrame
    predictions: pd.DataFrame
    metric_table: pd.DataFrame
    label_issues: pd.DataFrame
    robustness_table: pd.DataFrame
    explained_cases: Sequence[ExplainedCase]
    false_case_measures: pd.DataFrame
    folder: Path
    cases_shown: int
    label_issues_shown: int
    calibration_bins: int
    confidence: float


def render_page(report: Report) -> str:
    """The whole page.

    What comes from file names, class names or settings is escaped. The page forbids itself to load
    anything, and to run anything but its one script, without which it shows the same.

    Args:
        report: What to show.

    Returns:
        One HTML document, under 5 MB.
    """
    return render_document(_PACKAGE, "report.html.j2", _contents(report), script="cases.js")


def _contents(report: Report) -> dict[str, Any]:
    description, predictions = report.description, report.predictions
    statements = weigh_trust(predictions, description, report.split_summary, report.leakage_summary)
    # what has to be known of the images before any score is read
    notes = [description["split"].get("note"), report.split_summary.get("note")]
    robustness = _robustness(report)
    verdict = write_verdict(predictions, description, report.split_summary)
    threshold = float(description["threshold"])
    return {
        "description": description,
        "notes": list(dict.fromkeys(note for note in notes if note)),
        "verdict": [*verdict, robustness["said"]] if robustness.get("said") else verdict,
        "cards": pick_cards(report.metric_table, predictions),
        "statements": statements,
        "warnings": [each for each in statements if each.tone == "warning"],
        "split": report.split_summary,
        "data": compose_data(report.split_summary),
        "rejected": report.rejected_images.head(_REJECTED_SHOWN).to_dict("records"),
        "rejected_total": len(report.rejected_images),
        "history": _history_rows(report.history),
        "curves": _draw_curves(report.history),
        "matrices": _draw_matrices(predictions),
        "tradeoffs": [
            _draw_roc(predictions, threshold),
            _draw_precision_recall(predictions, threshold),
        ],
        "reliability": _draw_reliability(report),
        "reliability_bins": _reliability_bins(report),
        "fitted": description.get("calibration", {}).get("fitted", []),
        "calibration_notes": description.get("calibration", {}).get("notes", []),
        "metrics": widen_metrics(report.metric_table),
        "robustness": robustness,
        **_cases(report),
        "measures": _measures(report),
        "doubts": show_doubts(report.label_issues, report.folder, report.label_issues_shown),
        "doubts_total": len(report.label_issues),
        "settings": flatten_settings(description["settings"]),
    }


def _cases(report: Report) -> dict[str, Any]:
    """The gallery of cases, and what there is to say of it."""
    chosen = choose_cases(report.explained_cases, report.predictions, report.cases_shown)
    tiles = fill_tiles(chosen, report.folder)
    return {
        "tiles": tiles,
        "kinds": tell_kinds(chosen, report.predictions),
        "case_classes": list(dict.fromkeys(case.class_name for case in chosen)),
        "not_shown": [tile for tile in tiles if tile.problem],
        "has_heat": any(tile.heat for tile in tiles),
        "heat_scale": embed_heat_scale(),
    }


def _robustness(report: Report) -> dict[str, Any]:
    """Table, figure and sentence; empty where the table is of another detector, or of none."""
    table = report.robustness_table
    if not is_of_run(table, report.description["run_fingerprint"]):
        return {}
    said = say_weakest(table)
    note = report.description["split"].get("note")
    alt = f"Accuracy and ROC AUC on distorted pictures, by strength of each distortion. {said}"
    return {
        "said": said,
        "table": tabulate_robustness(table),
        "figure": page_figure(
            "Robustness", alt.strip(), lambda theme: draw_robustness(table, note, theme)
        ),
    }


def _measures(report: Report) -> dict[str, Any]:
    """Table, figure and sentence; empty where the table is of another detector, or of none."""
    table = report.false_case_measures
    if not is_of_run(table, report.description["run_fingerprint"]):
        return {}
    rows = tabulate_measures(table)
    said = say_differences(rows)
    return {
        "said": said,
        "rows": rows,
        "notes": list_notes(table),
        "figure": page_figure(
            "False cases measured",
            f"Effect of each measure, false cases against right ones. {said}",
            lambda theme: draw_effects(table, theme),
        ),
    }


def _history_rows(history: pd.DataFrame) -> list[dict[str, Any]]:
    best = best_row(history)
    best_epoch = None if best is None else best["epoch"]
    return [
        {str(name): value for name, value in row.items()} | {"is_best": row["epoch"] == best_epoch}
        for row in history.to_dict("records")
    ]


def _draw_curves(history: pd.DataFrame) -> list[PageFigure]:
    best = best_row(history)
    epochs = counted(len(history), "epoch")
    told = ""
    if best is not None:
        told = (
            f" At the best epoch, {int(best['epoch'])}, validation loss is "
            f"{best['validation_loss']:.4f} and validation accuracy "
            f"{best['validation_accuracy']:.4f}."
        )
    return [
        page_figure(
            "Loss",
            f"Loss of train and validation over {epochs}.{told}",
            lambda theme: draw_loss(history, theme),
        ),
        page_figure(
            "Accuracy",
            f"Accuracy of train and validation over {epochs}.{told}",
            lambda theme: draw_accuracy(history, theme),
        ),
    ]


def _draw_matrices(predictions: pd.DataFrame) -> list[PageFigure]:
    matrices = []
    for subset in scored_subsets(predictions):
        scored = predictions[predictions["subset"] == subset]
        (passed, false_positives), (missed, found) = confusion_counts(scored).tolist()
        alt = (
            f"Confusion matrix of {subset}: {passed} real ones passed, "
            f"{counted(false_positives, 'false positive')}, {counted(missed, 'false negative')}, "
            f"{found} fakes found."
        )
        matrices.append(
            page_figure(
                f"Confusion matrix, {subset}",
                alt,
                # the subset is bound now, not when the figure is drawn
                lambda theme, subset=subset: draw_confusion_matrix(  # type: ignore[misc]
                    predictions, [subset], theme
                ),
            )
        )
    return matrices


def _draw_roc(predictions: pd.DataFrame, threshold: float) -> PageFigure:
    points = []
    for subset in scored_subsets(predictions):
        counts = confusion_counts(predictions[predictions["subset"] == subset])
        if counts.sum(axis=1).all():
            false_positives, found = counts[:, 1] / counts.sum(axis=1)
            points.append(
                f"On {subset} the detector finds {percent(found)} of the fakes at a false positive "
                f"rate of {percent(false_positives)}."
            )
    alt = " ".join(["ROC curve of each scored subset.", *points])
    return page_figure("ROC curve", alt, lambda theme: draw_roc(predictions, threshold, theme))


def _draw_precision_recall(predictions: pd.DataFrame, threshold: float) -> PageFigure:
    points = []
    for subset in scored_subsets(predictions):
        (_, false_positives), (_, found) = confusion_counts(
            predictions[predictions["subset"] == subset]
        )
        if found + false_positives and not why_no_curve(predictions, subset):
            points.append(
                f"On {subset} {percent(found / (found + false_positives))} of the images that the "
                "detector calls fake are fake."
            )
    alt = " ".join(["Precision by recall of each scored subset.", *points])
    return page_figure(
        "Precision and recall",
        alt,
        lambda theme: draw_precision_recall(predictions, threshold, theme),
    )


def _draw_reliability(report: Report) -> PageFigure:
    predictions, bins = report.predictions, report.calibration_bins
    errors = [
        f"On {subset} the expected calibration error is "
        f"{calibration_error(predictions[predictions['subset'] == subset], bins):.3f}."
        for subset in scored_subsets(predictions)
    ]
    alt = " ".join([f"Share of fakes by fake probability, in {bins} bins.", *errors])
    return page_figure(
        "Reliability",
        alt,
        lambda theme: draw_reliability(predictions, bins, report.confidence, theme),
        " ".join(errors),
    )


def _reliability_bins(report: Report) -> list[tuple[str, list[Any]]]:
    """The bins of each scored subset."""
    predictions = report.predictions
    return [
        (
            subset,
            bin_reliability(
                predictions[predictions["subset"] == subset],
                report.calibration_bins,
                report.confidence,
            ).to_dict("records"),
        )
        for subset in scored_subsets(predictions)
    ]
