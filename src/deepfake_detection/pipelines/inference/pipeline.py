"""The pipeline `inference`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.inference.nodes import (
    average_sources,
    score_files,
    write_submission,
)


def create_pipeline() -> Pipeline:
    """From pictures, videos and a detector to scores and a submission file."""
    return Pipeline(
        [
            Node(
                score_files,
                inputs=[
                    "unlabelled_images",
                    "detector",
                    "scoring_checkpoints",
                    "params:inference",
                    "params:face_extraction",
                ],
                outputs="scores",
                name="score_files",
            ),
            Node(
                average_sources,
                inputs=["scores", "detector"],
                outputs="source_scores",
                name="average_sources",
            ),
            Node(
                write_submission,
                inputs=["scores", "source_scores", "params:inference"],
                outputs="submission",
                name="write_submission",
            ),
        ]
    )
