"""The pipeline `paired_comparison`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.metrics.predicting import request_scored_pixels
from deepfake_detection.pipelines.paired_comparison.nodes import compare_predictions, predict_unseen


def create_pipeline() -> Pipeline:
    """From two detectors and a split to differences of their metrics, with intervals."""
    detectors = ["detector", "other_detector"]
    pixels = ["scored_pixels", "other_scored_pixels"]
    predictions = ["paired_predictions", "other_paired_predictions"]
    return Pipeline(
        [
            *(
                Node(
                    request_scored_pixels,
                    inputs=["training_images", "split", detector, "params:pixels"],
                    outputs=scored,
                    name=f"build_{scored}",
                )
                for detector, scored in zip(detectors, pixels, strict=True)
            ),
            Node(
                predict_unseen,
                inputs=[*detectors, "split", *pixels, "params:evaluation"],
                outputs=predictions,
                name="predict_unseen",
            ),
            Node(
                compare_predictions,
                inputs=[*predictions, *detectors, "split", "split_summary", "params:evaluation"],
                outputs="paired_differences",
                name="compare_predictions",
            ),
        ]
    )
