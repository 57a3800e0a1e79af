"""Reporting: tables → figures, galleries, one page."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.reporting.nodes import (
    describe_scored_detector,
    draw_accuracy_curve,
    draw_confusion_matrices,
    draw_loss_curve,
    draw_precision_recall_curves,
    draw_reliability_diagram,
    draw_roc_curves,
    show_false_negatives,
    show_false_positives,
    write_report,
)


def create_pipeline() -> Pipeline:
    """From a scored detector to its figures and its page."""
    return Pipeline(
        [
            Node(
                describe_scored_detector,
                inputs=["detector", "metrics", "training_history"],
                outputs="detector_description",
                name="describe_scored_detector",
            ),
            Node(
                draw_loss_curve,
                inputs="training_history",
                outputs="loss_curve",
                name="draw_loss_curve",
            ),
            Node(
                draw_accuracy_curve,
                inputs="training_history",
                outputs="accuracy_curve",
                name="draw_accuracy_curve",
            ),
            Node(
                draw_confusion_matrices,
                inputs="predictions",
                outputs="confusion_matrix",
                name="draw_confusion_matrices",
            ),
            Node(
                draw_roc_curves,
                inputs=["predictions", "detector_description"],
                outputs="roc_curve",
                name="draw_roc_curves",
            ),
            Node(
                draw_precision_recall_curves,
                inputs=["predictions", "detector_description"],
                outputs="precision_recall_curve",
                name="draw_precision_recall_curves",
            ),
            Node(
                draw_reliability_diagram,
                inputs=["predictions", "params:evaluation"],
                outputs="reliability_diagram",
                name="draw_reliability_diagram",
            ),
            Node(
                show_false_negatives,
                inputs=["predictions", "training_images", "params:reporting"],
                outputs="false_negatives",
                name="show_false_negatives",
            ),
            Node(
                show_false_positives,
                inputs=["predictions", "training_images", "params:reporting"],
                outputs="false_positives",
                name="show_false_positives",
            ),
            Node(
                write_report,
                inputs={
                    "description": "detector_description",
                    "split_summary": "split_summary",
                    "leakage_summary": "leakage_summary",
                    "rejected_images": "rejected_images",
                    "training_history": "training_history",
                    "predictions": "predictions",
                    "metric_table": "metric_table",
                    "label_issues": "label_issues",
                    "robustness_table": "robustness_table",
                    "explained_cases": "explained_cases",
                    "false_case_measures": "false_case_measures",
                    "folder": "training_images",
                    "parameters": "params:reporting",
                    "evaluation": "params:evaluation",
                },
                outputs="report",
                name="write_report",
            ),
        ]
    )
