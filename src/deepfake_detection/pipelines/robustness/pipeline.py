"""The pipelines `robustness` and, for sets from elsewhere, `external_robustness`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.robustness.nodes import (
    measure_robustness,
    score_distorted,
    show_robustness,
)
from deepfake_detection.pipelines.robustness.shortcuts import score_shortcuts


def create_pipeline() -> Pipeline:
    """From a scored detector to its scores on distorted and on equalised pictures."""
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
            Node(
                score_shortcuts,
                inputs=[
                    "detector",
                    "predictions",
                    "metrics",
                    "training_images",
                    "file_properties",
                    "shortcut_summary",
                    "params:shortcuts",
                    "params:robustness",
                    "params:evaluation",
                ],
                outputs="shortcut_scores",
                name="score_shortcuts",
            ),
        ]
    )


def create_external_robustness() -> Pipeline:
    """The distortions of images from elsewhere, scored by `external_evaluation`."""
    distorted = create_pipeline().only_nodes(
        "score_distorted", "measure_robustness", "show_robustness"
    )
    return Pipeline(
        distorted,
        namespace="external",
        inputs={"detector": "detector", "training_images": "external_images"},
        parameters={name: name for name in ("params:robustness", "params:evaluation")},
    )
