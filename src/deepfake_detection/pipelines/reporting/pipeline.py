"""The pipeline `reporting`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.reporting.nodes import (
    describe_scored_detector,
    draw_figures,
    draw_galleries,
    write_report,
)


def create_pipeline() -> Pipeline:
    """From a scored detector to its figures and its page."""
    drawn = _named(
        "loss_curve accuracy_curve confusion_matrix roc_curve precision_recall_curve "
        "reliability_diagram page_figures"
    )
    tables = _named("training_history predictions robustness_table false_case_measures") | {
        "description": "detector_description",
        "evaluation": "params:evaluation",
    }
    shown = _named(
        "split_summary leakage_summary rejected_images metric_table label_issues explained_cases "
        "page_figures run_manifest"
    ) | {"folder": "training_images", "parameters": "params:reporting"}
    return Pipeline(
        [
            Node(
                describe_scored_detector,
                inputs=["detector", "metrics", "training_history", "predictions", "metric_table"],
                outputs="detector_description",
                name="describe_scored_detector",
            ),
            Node(draw_figures, inputs=tables, outputs=drawn, name="draw_figures"),
            Node(
                draw_galleries,
                inputs=["predictions", "training_images", "params:reporting"],
                outputs=["false_negatives", "false_positives"],
                name="draw_galleries",
            ),
            Node(write_report, inputs=tables | shown, outputs="report", name="write_report"),
        ]
    )


def _named(names: str) -> dict[str, str]:
    """Arguments that have the names of their datasets."""
    return {name: name for name in names.split()}
