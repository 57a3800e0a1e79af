"""The pipeline `explanation`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.explanation.nodes import (
    draw_false_case_measures,
    draw_heat_maps,
    explain_cases,
    measure_false_cases,
)

_SCORED = ["detector", "metrics", "predictions", "training_images"]


def create_pipeline() -> Pipeline:
    """From a scored detector to heat maps of its verdicts, and to measures of its errors."""
    return Pipeline(
        [
            Node(
                explain_cases,
                inputs=[*_SCORED, "params:explanation", "params:evaluation"],
                outputs="explained_cases",
                name="explain_cases",
            ),
            Node(
                draw_heat_maps,
                inputs=["explained_cases", "training_images", "params:explanation"],
                outputs="heat_maps",
                name="draw_heat_maps",
            ),
            Node(
                measure_false_cases,
                inputs=[*_SCORED, "params:explanation", "params:evaluation"],
                outputs="false_case_measures",
                name="measure_false_cases",
            ),
            Node(
                draw_false_case_measures,
                inputs="false_case_measures",
                outputs="false_case_figure",
                name="draw_false_case_measures",
            ),
        ]
    )
