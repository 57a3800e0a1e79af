"""The pipelines `calibration` and, on sets from elsewhere, `external_calibration`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.calibration.nodes import (
    calibrate_detector,
    calibrate_on_part,
    split_for_calibration,
)
from deepfake_detection.pipelines.data_preparation.pipeline import create_indexing_pipeline
from deepfake_detection.pipelines.evaluation.nodes import predict_external
from deepfake_detection.pipelines.evaluation.pipeline import score_with


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


def create_external_calibration(*, faces: bool = False) -> Pipeline:
    """From an imported detector and labelled images from elsewhere to a calibrated one.

    One part of the images calibrates, and the other one measures. `faces`: the images are those of
    the face index, not a folder of images.
    """
    index = {"face_index": "face_index"} if faces else {}
    blocks = ["external_evaluation", "external_calibration", "calibration", "evaluation", "pixels"]
    if not faces:
        # the face index has its own crop recipe
        blocks.append("face_extraction")
    return Pipeline(
        [
            create_indexing_pipeline(faces=faces),
            Node(
                split_for_calibration,
                inputs=[
                    "image_index",
                    "detector",
                    "params:external_evaluation",
                    "params:external_calibration",
                ],
                outputs="split",
                name="split_for_calibration",
            ),
            Node(
                calibrate_on_part,
                inputs=[
                    "detector",
                    "split",
                    "scored_pixels",
                    "params:calibration",
                    "params:evaluation",
                ],
                outputs="calibrated_detector",
                name="calibrate_on_part",
            ),
            score_with(predict_external, "calibrated_detector"),
        ],
        namespace="external",
        inputs={**index, "training_images": "external_images", "detector": "detector"},
        parameters={"params:data_preparation": "params:external_evaluation"}
        | {f"params:{name}": f"params:{name}" for name in blocks},
    )
