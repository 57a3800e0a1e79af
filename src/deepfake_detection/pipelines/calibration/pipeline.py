"""The pipeline `calibration`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.metrics.predicting import request_scored_pixels
from deepfake_detection.pipelines.calibration.nodes import recalibrate_detector


def create_pipeline() -> Pipeline:
    """From a detector and its split to the same detector with another threshold or temperature."""
    return Pipeline(
        [
            Node(
                request_scored_pixels,
                inputs=["training_images", "split", "detector", "params:pixels"],
                outputs="scored_pixels",
                name="build_scored_pixels",
            ),
            Node(
                recalibrate_detector,
                inputs=[
                    "detector",
                    "split",
                    "scored_pixels",
                    "params:model",
                    "params:calibration",
                    "params:evaluation",
                ],
                outputs="recalibrated_detector",
                name="recalibrate_detector",
            ),
        ]
    )
