"""The pipeline `generalisation`."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from deepfake_detection.pipelines.generalisation.labelled_sets import name_folder
from deepfake_detection.pipelines.generalisation.nodes import (
    compare_on_sets,
    measure_sets,
    open_detectors,
    score_sets,
    take_one_detector,
)
from deepfake_detection.pipelines.generalisation.page import report_generalisation

# What scoring sets needs, beside detectors, by argument
OF_SETS = {name: name for name in ("project_folder", "crops_of_sets", "scores_of_sets")} | {
    name: f"params:{name}" for name in ("generalisation", "face_extraction", "evaluation")
}


def name_folders(sets: Iterable[str]) -> dict[str, str]:
    """The catalog entries of the folders of sets, by argument."""
    return {name_folder(name): f"labelled_{name}" for name in sets}


def create_pipeline(*, named: bool = False, sets: Iterable[str] = ()) -> Pipeline:
    """From detectors and labelled sets from elsewhere to a table, a figure and a page.

    `named`: the detectors are those that the parameters name, not the one of the catalog. `sets`:
    the names of the sets.
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
                inputs={"detectors": "set_detectors"} | OF_SETS | name_folders(sets),
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
                    "params:evaluation",
                ],
                outputs=["generalisation_page", "generalisation_figure"],
                name="report_generalisation",
            ),
        ]
    )
