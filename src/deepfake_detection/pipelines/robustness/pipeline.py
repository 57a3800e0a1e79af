"""The pipelines `robustness` and, for sets from elsewhere, `external_robustness`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.robustness.nodes import (
    measure_robustness,
    score_distorted,
    show_robustness,
)


def create_pipeline() -> Pipeline:
    """From a scored detector to its scores on distorted pictures, as a table and a figure."""
    return Pipeline(
        [
            Node(
                score_distorted,
                inputs=[
                    "detector",
                    "predictions",
                    "metrics",
                    "training_images",
                    "params:robustness",
                    "params:evaluation",
                ],
                outputs="robustness_scores",
                name="score_distorted",
            ),
            Node(
                measure_robustness,
                inputs=["robustness_scores", "detector", "params:evaluation"],
                outputs="robustness_table",
                name="measure_robustness",
            ),
            Node(
                show_robustness,
                inputs=["robustness_table", "metrics"],
                outputs="robustness_figure",
                name="show_robustness",
            ),
        ]
    )


def create_external_robustness() -> Pipeline:
    """The same of images from elsewhere, scored by `external_evaluation`."""
    return Pipeline(
        create_pipeline(),
        namespace="external",
        inputs={"detector": "detector", "training_images": "external_images"},
        parameters={name: name for name in ("params:robustness", "params:evaluation")},
    )
