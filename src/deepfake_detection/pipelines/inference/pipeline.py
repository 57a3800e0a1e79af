"""The pipeline `inference`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.inference.nodes import (
    average_sources,
    score_pictures,
    write_submission,
)


def create_pipeline() -> Pipeline:
    """From images and a detector to scores and a submission file."""
    return Pipeline(
        [
            Node(
                score_pictures,
                inputs=[
                    "unlabelled_images",
                    "detector",
                    "scoring_checkpoints",
                    "params:inference",
                    "params:face_extraction",
                ],
                outputs="scores",
                name="score_pictures",
            ),
            Node(
                average_sources,
                inputs=["scores", "detector"],
                outputs="source_scores",
                name="average_sources",
            ),
            Node(
                write_submission,
                inputs=["scores", "params:inference"],
                outputs="submission",
                name="write_submission",
            ),
        ]
    )
