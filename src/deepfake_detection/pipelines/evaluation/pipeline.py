"""The pipelines `evaluation` and, for sets from elsewhere, `external_evaluation`."""

from collections.abc import Callable

import pandas as pd
from kedro.pipeline import Node, Pipeline

from deepfake_detection.metrics.predicting import request_scored_pixels
from deepfake_detection.pipelines.data_preparation.pipeline import create_indexing_pipeline
from deepfake_detection.pipelines.evaluation.nodes import (
    compare_with_own_split,
    list_label_issues,
    measure_predictions,
    predict_external,
    predict_split,
    take_all_images,
)


def score_with(predict: Callable[..., pd.DataFrame], detector: str = "detector") -> Pipeline:
    """Score a split by a node function, with the detector of an entry, and measure the scores."""
    return Pipeline(
        [
            Node(
                request_scored_pixels,
                inputs=["training_images", "split", "detector", "params:pixels"],
                outputs="scored_pixels",
                name="build_scored_pixels",
            ),
            Node(
                predict,
                inputs=[detector, "split", "scored_pixels", "params:evaluation"],
                outputs="predictions",
                name="predict",
            ),
            Node(
                measure_predictions,
                inputs=["predictions", detector, "params:evaluation"],
                outputs=["metric_table", "metrics"],
                name="measure_predictions",
            ),
            Node(
                list_label_issues,
                inputs=["predictions", detector, "params:evaluation"],
                outputs="label_issues",
                name="list_label_issues",
            ),
        ]
    )


def create_pipeline() -> Pipeline:
    """From a detector and its split to predictions and metrics of what it was not trained on."""
    return score_with(predict_split)


def create_external_pipeline(*, faces: bool = False) -> Pipeline:
    """From labelled images from elsewhere, and a detector, to predictions and metrics.

    `faces`: the images are those of the face index, not a folder of images.
    """
    index = {"face_index": "face_index"} if faces else {}
    shared = ["params:external_evaluation", "params:evaluation", "params:pixels"]
    if not faces:
        # the face index has its own crop recipe
        shared.append("params:face_extraction")
    return Pipeline(
        [
            create_indexing_pipeline(faces=faces),
            Node(
                take_all_images,
                inputs=["image_index", "detector", "params:external_evaluation"],
                outputs="split",
                name="take_all_images",
            ),
            score_with(predict_external),
            Node(
                compare_with_own_split,
                inputs=["metric_table", "detector", "finished_scores"],
                outputs="beside_own_split",
                name="compare_with_own_split",
            ),
        ],
        namespace="external",
        inputs={
            **index,
            "training_images": "external_images",
            "detector": "detector",
            "finished_scores": "finished_scores",
        },
        parameters={"params:data_preparation": "params:external_evaluation"}
        | {name: name for name in shared},
    )
