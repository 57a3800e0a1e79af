"""The nodes of reporting: plain functions from tables to figures and to the page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from deepfake_detection.metrics.cases import ExplainedCase
from deepfake_detection.metrics.caveats import check_rows, check_same_calibration, check_same_run
from deepfake_detection.metrics.metrics import bin_reliability
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import EvaluationParameters, ReportingParameters
from deepfake_detection.pipelines.reporting import cases, figures, headline, tables
from deepfake_detection.pipelines.reporting.distorted_pictures import show_distortions
from deepfake_detection.pipelines.reporting.findings import name_unit, of_run
from deepfake_detection.pipelines.reporting.provenance import tell_provenance
from deepfake_detection.pipelines.reporting.reliability import draw_reliability
from deepfake_detection.pipelines.reporting.thresholds import draw_scores, list_thresholds
from deepfake_detection.pipelines.reporting.trust import weigh_trust
from deepfake_detection.reports.curves import best_row
from deepfake_detection.reports.document import render_document
from deepfake_detection.reports.effects import draw_effects
from deepfake_detection.reports.embedded_figures import PageFigure, describe_figure, embed_figure
from deepfake_detection.reports.robustness_figure import draw_robustness
from deepfake_detection.reports.settings import flatten_settings
from deepfake_detection.reports.shortcut_figure import draw_worst
from deepfake_detection.reports.words import name_levels

_PACKAGE = "deepfake_detection.pipelines.reporting"
_REJECTED_SHOWN = 20
_RUN = "run_fingerprint"
# Where there is something to show
_SECTIONS = {
    "trust": "How far to trust this score",
    "errors": "Errors",
    "scores": "Scores",
    "robustness": "Robustness",
    "training": "Training",
    "calibration": "Calibration",
    "data": "Data and leaks",
    "provenance": "Provenance",
}
# Parts of sections that findings lead to
_LINKS = {
    "fake-kinds": "Each kind of fake",
    "error-measures": "What the errors have in common",
    "label-issues": "Possible label errors",
}
_FINDINGS_SHOWN = 3


def describe_scored_detector(
    detector: Detector,
    metrics: Mapping[str, Any],
    training_history: pd.DataFrame,
    predictions: pd.DataFrame,
    metric_table: pd.DataFrame,
) -> dict[str, Any]:
    """The detector's description, after a check that the tables are whole and of its run.

    A history of an older version has no `run_fingerprint`: it passes, and is not shown.

    Raises:
        UserError: If a table or the metrics are of another run, or a table has other rows.
    """
    description = detector.describe()
    named = {"training_history": training_history} if _RUN in training_history else {}
    check_same_run(description[_RUN], metrics=metrics, predictions=predictions, **named)
    check_rows(metrics, metric_table=metric_table)
    check_same_calibration(description, metrics)
    return description


def draw_figures(
    *,
    description: Mapping[str, Any],
    training_history: pd.DataFrame,
    predictions: pd.DataFrame,
    robustness_table: pd.DataFrame,
    false_case_measures: pd.DataFrame,
    file_properties: pd.DataFrame,
    shortcut_audit: pd.DataFrame,
    evaluation: EvaluationParameters,
) -> dict[str, Any]:
    """Draw each figure once, and embed those that show anything as SVG for the page.

    Robustness and measures of another run are left out.

    Returns:
        The figures that have an entry in the catalog, by its name; and `page_figures`, by name.
    """
    history, threshold = _named_history(training_history), float(description["threshold"])
    run, backbone = str(description[_RUN]), str(description["backbone"])
    drawn: dict[str, Figure] = {
        "loss_curve": figures.draw_curves(history, "loss", backbone),
        "accuracy_curve": figures.draw_curves(history, "accuracy", backbone),
        "score_histogram": draw_scores(predictions, threshold, float(description["temperature"])),
        "confusion_matrix": figures.draw_confusion_matrices(predictions),
        "roc_curve": figures.draw_roc(predictions, threshold, evaluation.confidence),
        "precision_recall_curve": figures.draw_precision_recall(predictions, threshold),
        "reliability_diagram": draw_reliability(predictions, evaluation.confidence),
    }
    # the note stands at the head of the page
    shown = drawn | {
        "robustness": draw_robustness(of_run(robustness_table, run), None),
        "error_measures": draw_effects(of_run(false_case_measures, run)),
        "shortcuts": draw_worst(file_properties, shortcut_audit),
    }
    embedded = {
        name: embed_figure(name.replace("_", " ").capitalize(), describe_figure(figure), figure)
        for name, figure in shown.items()
        # axes are off where there is only a message
        if figure.axes[0].axison
    }
    return {**drawn, "page_figures": embedded}


def _named_history(training_history: pd.DataFrame) -> pd.DataFrame:
    """No rows of a history that does not name its run: it may be of another."""
    return training_history if _RUN in training_history else training_history.head(0)


def write_report(
    *,
    description: Mapping[str, Any],
    split_summary: Mapping[str, Any],
    leakage_summary: Mapping[str, Any],
    shortcut_summary: Mapping[str, Any],
    shortcut_scores: pd.DataFrame,
    rejected_images: pd.DataFrame,
    training_history: pd.DataFrame,
    predictions: pd.DataFrame,
    metric_table: pd.DataFrame,
    label_issues: pd.DataFrame,
    robustness_table: pd.DataFrame,
    explained_cases: Sequence[ExplainedCase],
    false_case_measures: pd.DataFrame,
    findings: Mapping[str, Any],
    page_figures: Mapping[str, PageFigure],
    run_manifest: Mapping[str, Any],
    folder: Path,
    parameters: ReportingParameters,
    evaluation: EvaluationParameters,
) -> str:
    """The report as one self-contained HTML page, under 5 MB, that begins with what was found.

    Names and settings are escaped. The page forbids itself to load anything, and to run anything
    but its one script, without which it shows the same. Sections that have nothing to show are
    omitted, and so are the robustness table and the measures if they are of another run.

    `explained_cases` have heat maps; an error that is not among them is shown without. `folder` is
    the image folder, `page_figures` are those of `draw_figures`. `run_manifest` is of the run that
    writes the report.
    """
    calibration, history = description.get("calibration", {}), _named_history(training_history)
    notes = [description["split"].get("note"), split_summary.get("note")]
    levels, run = name_levels(description["split"].get("medium")), str(description[_RUN])
    _, scored = headline_predictions(predictions)
    metrics, footnotes = tables.tabulate_metrics(metric_table, levels)
    robustness = of_run(robustness_table, run)
    measures = of_run(false_case_measures, run)
    compared = measures[measures["differs"] != "too few"]
    threshold, temperature = float(description["threshold"]), float(description["temperature"])
    shown = {
        "errors": len(scored), "scores": len(scored), "calibration": len(scored),
        "robustness": len(robustness),
    }  # fmt: skip
    missing = [
        ("no-robustness", "Robustness of this detector", "robustness", robustness),
        ("no-measures", "What its errors have in common", "explanation", measures),
    ]
    best, outcomes = best_row(history), headline.count_outcomes(predictions)
    gallery = cases.show_cases(explained_cases, predictions, folder, parameters.gallery_size)
    contents = {
        "eyebrow": "Deepfake detection report",
        "heading": headline.say_verdict(outcomes, levels["image"]),
        "notes": list(dict.fromkeys(note for note in notes if note)),
        "cards": headline.pick_cards(
            metric_table,
            predictions,
            evaluation.confidence,
            levels["source"],
            shortcut_summary["pixels"]["auc"],
        ),
        "findings": findings["findings"][:_FINDINGS_SHOWN],
        "links": _LINKS,
        "statements": weigh_trust(
            predictions,
            description,
            split_summary,
            leakage_summary,
            shortcut_summary,
            of_run(shortcut_scores, run),
            levels,
        ),
        "sections": {id_: title for id_, title in _SECTIONS.items() if shown.get(id_, 1)},
        "figures": page_figures,
        "description": description,
        "manifest": run_manifest,
        "scored": outcomes,
        "unit": name_unit(scored, levels["source"]),
        "split": split_summary,
        "images": tables.count_images(split_summary),
        "rejected": rejected_images.head(_REJECTED_SHOWN).to_dict("records"),
        "rejected_total": len(rejected_images),
        "history": history.to_dict("records"),
        "best_epoch": None if best is None else best["epoch"],
        "no_curves": list(figures.why_no_curves(predictions).values()),
        "thresholds": list_thresholds(predictions, threshold, temperature),
        "reliability": bin_reliability(scored, evaluation.confidence).to_dict("records"),
        "fitted": calibration.get("fitted", []),
        "calibration_notes": calibration.get("notes", []),
        "levels": levels,
        "source_score": SourceScore.of(calibration),
        "fake_kinds": tables.tabulate_kinds(metric_table, levels),
        "metrics": metrics,
        "footnotes": footnotes,
        "confidence": evaluation.confidence,
        "robustness": tables.tabulate_robustness(robustness),
        "distorted": show_distortions(robustness, gallery["tiles"], folder),
        **gallery,
        "measures": len(measures),
        "compared": compared.to_dict("records"),
        "differences": tables.say_differences(compared),
        "measure_notes": tables.list_notes(measures),
        "label_issues": cases.show_label_issues(
            label_issues, folder, parameters.label_issues_shown
        ),
        "label_issues_total": len(label_issues),
        "missing": [(id_, what, pipeline) for id_, what, pipeline, rows in missing if rows.empty],
        "provenance": tell_provenance(description, split_summary, run_manifest, history),
        "settings": flatten_settings(description["settings"]),
    }
    return render_document(_PACKAGE, "report.html.j2", contents, "cases.js", "thresholds.js")
