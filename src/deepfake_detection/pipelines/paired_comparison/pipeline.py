"""The pipeline `paired_comparison`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.metrics.predicting import request_scored_pixels
from deepfake_detection.pipelines.paired_comparison.nodes import compare_predictions, predict_unseen


def create_pipeline() -> Pipeline:
    """From two detectors and a split to differences of their metrics, with intervals."""
    return Pipeline(
        [
            Node(
                request_scored_pixels,
                inputs=["training_images", "split", "detector", "params:pixels"],
                outputs="scored_pixels",
                name="build_scored_pixels",
            ),
            Node(
                request_scored_pixels,
                inputs=["training_images", "split", "other_detector", "params:pixels"],
                outputs="other_scored_pixels",
                name="build_other_scored_pixels",
            ),
            Node(
                predict_unseen,
                inputs=[
                    "detector",
                    "other_detector",
                    "split",
                    "scored_pixels",
                    "other_scored_pixels",
                    "params:evaluation",
                ],
                outputs=["paired_predictions", "other_paired_predictions"],
                name="predict_unseen",
            ),
            Node(
                compare_predictions,
                inputs=[
                    "paired_predictions",
                    "other_paired_predictions",
                    "detector",
                    "other_detector",
                    "split",
                    "split_summary",
                    "params:evaluation",
                ],
                outputs="paired_differences",
                name="compare_predictions",
            ),
        ]
    )
