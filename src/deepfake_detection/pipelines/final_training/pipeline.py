"""The pipeline `final_training`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.final_training.nodes import (
    fetch_weights_of_run,
    plan_final_run,
    request_all_pixels,
    take_all_images,
    train_final_detector,
)


def create_pipeline() -> Pipeline:
    """From all labelled images and a scored detector to one with its settings, trained on all."""
    return Pipeline(
        [
            Node(
                plan_final_run,
                inputs=["detector", "params:model", "params:training", "params:final_training"],
                outputs="final_run",
                name="plan_final_run",
            ),
            Node(
                fetch_weights_of_run,
                inputs="final_run",
                outputs="final_initial_weights",
                name="fetch_weights_of_run",
            ),
            Node(
                take_all_images,
                inputs=["image_index", "final_run", "params:data_preparation"],
                outputs=["final_split", "final_split_summary"],
                name="take_all_labelled_images",
            ),
            Node(
                request_all_pixels,
                inputs=["training_images", "final_split", "final_run", "params:pixels"],
                outputs="final_pixels",
                name="build_final_pixels",
            ),
            Node(
                train_final_detector,
                inputs=[
                    "final_run",
                    "final_split",
                    "final_split_summary",
                    "final_pixels",
                    "final_initial_weights",
                    "training_checkpoints",
                ],
                # the detector last: once it is saved, the checkpoint is removed
                outputs=["final_training_history", "final_detector"],
                name="train_final_detector",
                # over several machines, such a node takes a GPU's worker for itself
                tags="training",
            ),
        ]
    )
