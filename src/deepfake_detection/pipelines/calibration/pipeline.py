"""The pipeline `calibration`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.calibration.nodes import calibrate_detector


def create_pipeline() -> Pipeline:
    """From a trained network and its validation logits to a detector."""
    return Pipeline(
        [
            Node(
                calibrate_detector,
                inputs=["uncalibrated_detector", "validation_logits", "params:calibration"],
                outputs="detector",
                name="calibrate_detector",
            )
        ]
    )
