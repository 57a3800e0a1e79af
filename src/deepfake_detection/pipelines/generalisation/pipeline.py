"""The pipeline `generalisation`."""

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.generalisation.nodes import (
    compare_on_sets,
    measure_sets,
    open_detectors,
    score_sets,
    take_one_detector,
)
from deepfake_detection.pipelines.generalisation.page import report_generalisation


def create_pipeline(*, named: bool = False) -> Pipeline:
    """From detectors and labelled sets from elsewhere to a table, a figure and a page.

    `named`: the detectors are those that the parameters name, not the one of the catalog.
    """
    opening = (
        Node(
            open_detectors,
            inputs=["detector_files", "params:generalisation"],
            outputs="set_detectors",
            name="open_detectors",
        )
        if named
        else Node(
            take_one_detector,
            inputs="detector",
            outputs="set_detectors",
            name="take_one_detector",
        )
    )
    return Pipeline(
        [
            opening,
            Node(
                score_sets,
                inputs=[
                    "set_detectors",
                    "sets_folder",
                    "crops_of_sets",
                    "scores_of_sets",
                    "params:generalisation",
                    "params:face_extraction",
                    "params:evaluation",
                ],
                outputs=["set_predictions", "lost_of_sets"],
                name="score_sets",
            ),
            Node(
                measure_sets,
                inputs=[
                    "set_predictions",
                    "set_detectors",
                    "all_finished_scores",
                    "params:evaluation",
                ],
                outputs="generalisation_table",
                name="measure_sets",
            ),
            Node(
                compare_on_sets,
                inputs=["set_predictions", "set_detectors", "params:evaluation"],
                outputs="set_differences",
                name="compare_on_sets",
            ),
            Node(
                report_generalisation,
                inputs=[
                    "generalisation_table",
                    "set_differences",
                    "lost_of_sets",
                    "set_detectors",
                    "params:generalisation",
                    "params:published_results",
                ],
                outputs=["generalisation_page", "generalisation_figure"],
                name="report_generalisation",
            ),
        ]
    )
