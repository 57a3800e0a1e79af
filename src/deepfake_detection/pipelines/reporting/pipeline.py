"""The pipeline `reporting`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.reporting.findings import find_findings
from deepfake_detection.pipelines.reporting.nodes import (
    describe_scored_detector,
    draw_figures,
    write_report,
)


def create_pipeline() -> Pipeline:
    """From a scored detector to its figures and its page."""
    drawn = _named(
        "loss_curve accuracy_curve score_histogram confusion_matrix roc_curve "
        "precision_recall_curve reliability_diagram page_figures"
    )
    tables = _named("predictions robustness_table false_case_measures") | {
        "description": "detector_description",
        "evaluation": "params:evaluation",
    }
    judged = _named("split_summary leakage_summary shortcut_summary label_issues")
    shown = _named(
        "training_history rejected_images metric_table explained_cases findings page_figures "
        "run_manifest shortcut_scores"
    ) | {"folder": "training_images", "parameters": "params:reporting"}
    return Pipeline(
        [
            Node(
                describe_scored_detector,
                inputs=["detector", "metrics", "training_history", "predictions", "metric_table"],
                outputs="detector_description",
                name="describe_scored_detector",
            ),
            Node(
                draw_figures,
                inputs=tables | _named("training_history file_properties shortcut_audit"),
                outputs=drawn,
                name="draw_figures",
            ),
            Node(find_findings, inputs=tables | judged, outputs="findings", name="find_findings"),
            Node(
                write_report,
                inputs=tables | judged | shown,
                outputs="report",
                name="write_report",
            ),
        ]
    )


def _named(names: str) -> dict[str, str]:
    """Arguments that have the names of their datasets."""
    return {name: name for name in names.split()}
