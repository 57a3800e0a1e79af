"""The pipeline `paired_comparison`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.paired_comparison.nodes import (
    compare_predictions,
    score_both,
    score_named,
    show_pairs,
)


def create_pipeline(*, named: bool = False) -> Pipeline:
    """From detectors and a split to differences of their metrics, with intervals, and a figure.

    `named`: the detectors are those of the parameters, not a detector and another one.
    """
    images = ["training_images", "split", "compared_pixels", "params:pixels", "params:evaluation"]
    outputs = ["compared_predictions", "compared_detectors"]
    return Pipeline(
        [
            Node(
                score_named,
                inputs=["detector_files", "params:paired_comparison", *images],
                outputs=outputs,
                name="score_compared_detectors",
            )
            if named
            else Node(
                score_both,
                inputs=["detector", "other_detector", *images],
                outputs=outputs,
                name="score_compared_detectors",
            ),
            Node(
                compare_predictions,
                inputs=[*outputs, "split_summary", "params:evaluation"],
                outputs="paired_differences",
                name="compare_predictions",
            ),
            Node(
                show_pairs,
                inputs=["paired_differences", "split_summary", "params:evaluation"],
                outputs="paired_figure",
                name="show_pairs",
            ),
        ]
    )
