"""The pipeline `training`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines import calibration
from deepfake_detection.pipelines.training.nodes import (
    fetch_initial_weights,
    request_pixels,
    train_detector,
)


def create_pipeline() -> Pipeline:
    """From a split and pixels to a detector and its training history."""
    of_pixels = ["params:model", "params:backbones", "params:pixels"]
    made = ["split", "split_summary", "pixel_cache", "initial_weights"]
    kept = ["training_checkpoints", "best_so_far"]
    nodes = [
        Node(
            fetch_initial_weights,
            inputs=["params:model", "params:training"],
            outputs="initial_weights",
            name="fetch_initial_weights",
        ),
        Node(
            request_pixels,
            inputs=["training_images", "image_index", *of_pixels],
            outputs="pixel_cache",
            name="build_pixel_cache",
        ),
        Node(
            train_detector,
            inputs=[*made, *kept, "params:model", "params:backbones", "params:training"],
            # the detector last: once it is saved, the checkpoint is removed
            outputs=["training_history", "validation_logits", "uncalibrated_detector"],
            name="train_detector",
            # on a Dask cluster, such a node takes a GPU's worker for itself
            tags="training",
        ),
    ]
    return Pipeline(nodes) + calibration.create_pipeline()
