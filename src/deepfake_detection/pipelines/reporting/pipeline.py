"""The pipeline `reporting`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.reporting.nodes import (
    describe_scored_detector,
    draw_figures,
    draw_galleries,
    write_report,
)

_FIGURES = (
    "loss_curve",
    "accuracy_curve",
    "confusion_matrix",
    "roc_curve",
    "precision_recall_curve",
    "reliability_diagram",
    "page_figures",
)
_TABLES = ("training_history", "predictions", "robustness_table", "false_case_measures")
_SHOWN = (
    "split_summary",
    "leakage_summary",
    "rejected_images",
    "metric_table",
    "label_issues",
    "explained_cases",
)


def create_pipeline() -> Pipeline:
    """From a scored detector to its figures and its page."""
    described = {"description": "detector_description", "evaluation": "params:evaluation"}
    tables = {name: name for name in _TABLES}
    return Pipeline(
        [
            Node(
                describe_scored_detector,
                inputs=["detector", "metrics", "training_history"],
                outputs="detector_description",
                name="describe_scored_detector",
            ),
            Node(
                draw_figures,
                inputs={**described, **tables},
                outputs={name: name for name in _FIGURES},
                name="draw_figures",
            ),
            Node(
                draw_galleries,
                inputs=["predictions", "training_images", "params:reporting"],
                outputs=["false_negatives", "false_positives"],
                name="draw_galleries",
            ),
            Node(
                write_report,
                inputs={
                    **described,
                    **tables,
                    **{name: name for name in _SHOWN},
                    "figures": "page_figures",
                    "folder": "training_images",
                    "parameters": "params:reporting",
                },
                outputs="report",
                name="write_report",
            ),
        ]
    )
