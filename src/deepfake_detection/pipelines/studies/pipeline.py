"""The pipeline of a study: namespaced runs, and what they come to together."""

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from deepfake_detection.parameters import RunParameters, StudyParameters
from deepfake_detection.pipelines import calibration
from deepfake_detection.pipelines.data_preparation.nodes import split_images, summarise_split
from deepfake_detection.pipelines.data_preparation.pipeline import create_indexing_pipeline
from deepfake_detection.pipelines.studies.figures.comparisons import draw_comparisons
from deepfake_detection.pipelines.studies.figures.curves import draw_curves, draw_losses
from deepfake_detection.pipelines.studies.figures.inflation import draw_inflation
from deepfake_detection.pipelines.studies.figures.scores import draw_scores
from deepfake_detection.pipelines.studies.nodes import (
    check_weights,
    collect,
    gather_predictions,
    pool_folds,
    score_run,
    summarise,
    tabulate,
    train_run,
)
from deepfake_detection.pipelines.studies.page import render_study
from deepfake_detection.pipelines.studies.plan import ABOUT, SPLIT, name_of_pixels
from deepfake_detection.pipelines.studies.tables import compare_split_methods, pairs_of_methods
from deepfake_detection.pipelines.training.nodes import request_pixels

# Nodes with it are what a cluster gives to workers with a device
TRAINING = "training"


def create_pipeline(study: StudyParameters) -> Pipeline:
    """From a folder of images to all runs of a study, its tables, figures and page."""
    pixels = {name_of_pixels(run): run for run in study.runs.values()}
    return Pipeline(
        [
            create_indexing_pipeline(),
            *(_create_split(study, name) for name in study.splits),
            *(_create_pixels(study, name) for name in pixels),
            *(_create_run(study, name, run) for name, run in study.runs.items()),
            _create_tables(study),
        ]
    )


def _create_split(study: StudyParameters, name: str) -> Pipeline:
    nodes = [
        Node(
            split_images,
            inputs=["image_index", "params:split"],
            outputs="split",
            name="split_images",
        ),
        Node(
            summarise_split,
            inputs=["split", "image_index", "params:split", "params:data_preparation"],
            outputs="split_summary",
            name="summarise_split",
        ),
    ]
    return Pipeline(
        nodes,
        namespace=f"{study.name}.{SPLIT}{name}",
        inputs={"image_index"},
        parameters={"params:data_preparation"},
    )


def _create_pixels(study: StudyParameters, name: str) -> Pipeline:
    node = Node(
        request_pixels,
        inputs=[
            "training_images",
            "image_index",
            "params:model",
            "params:backbones",
            "params:pixels",
        ],
        outputs="pixel_cache",
        name="build_pixel_cache",
    )
    return Pipeline(
        [node],
        namespace=f"{study.name}.{name}",
        inputs={"training_images", "image_index"},
        parameters={"params:pixels"},
    )


def _create_run(study: StudyParameters, name: str, run: RunParameters) -> Pipeline:
    nodes = [
        Node(
            train_run,
            inputs=[
                "split",
                "split_summary",
                "pixel_cache",
                "finished_runs",
                "training_checkpoints",
                "best_so_far",
                "params:model",
                "params:backbones",
                "params:training",
            ],
            # the detector last: once it is saved, the checkpoint is removed
            outputs=["training_history", "validation_logits", "uncalibrated_detector"],
            name="train",
            tags=TRAINING,
        ),
        *calibration.create_pipeline().nodes,
        Node(
            score_run,
            inputs=[
                "detector",
                "training_history",
                "split",
                "pixel_cache",
                "finished_scores",
                "params:evaluation",
            ],
            # the metrics last: where they are, the others are
            outputs=["predictions", "metric_table", "metrics"],
            name="score",
            tags=TRAINING,
        ),
    ]
    prepared = f"{study.name}.{SPLIT}{run.split.name}"
    return Pipeline(
        nodes,
        namespace=f"{study.name}.{name}",
        inputs={
            "split": f"{prepared}.split",
            "split_summary": f"{prepared}.split_summary",
            "pixel_cache": f"{study.name}.{name_of_pixels(run)}.pixel_cache",
        },
        parameters={"params:evaluation"},
    )


def _create_tables(study: StudyParameters) -> Pipeline:
    about = f"params:{ABOUT}"
    metrics = _entries(study, "metrics", study.runs)
    tables = _entries(study, "metric_table", study.runs)
    predictions = _entries(study, "predictions", study.runs)
    summaries = _entries(study, "split_summary", [f"{SPLIT}{name}" for name in study.splits])
    nodes = [
        Node(check_weights, inputs=about, outputs=None, name="check_weights"),
        Node(
            tabulate,
            inputs=[about, *metrics, *tables, *summaries],
            outputs=["table", "choice"],
            name="tabulate",
        ),
        Node(
            gather_predictions,
            inputs=[about, *predictions],
            outputs="predictions",
            name="gather_predictions",
        ),
        Node(
            summarise,
            inputs=[about, "table", *(["fold_metrics"] if study.folds else [])],
            outputs="summary",
            name="summarise",
        ),
    ]
    if pairs_of_methods(study):
        nodes.append(
            Node(
                compare_split_methods,
                inputs=[about, "table"],
                outputs="inflation",
                name="compare_split_methods",
            )
        )
    histories = _entries(study, "training_history", study.runs)
    nodes += _create_page(study, [*histories, *summaries])
    pipeline = Pipeline(
        nodes,
        namespace=study.name,
        inputs=metrics | tables | predictions | summaries | histories,
    )
    if study.folds:
        pipeline += _create_pooling(study, metrics)
    return pipeline


def _create_page(study: StudyParameters, parts: list[str]) -> list[Node]:
    methods = ["inflation"] if pairs_of_methods(study) else []
    drawn = {
        "curves": draw_curves,
        "losses": draw_losses,
        "comparisons": draw_comparisons,
        "scores": draw_scores,
        **({"inflation_figure": draw_inflation} if methods else {}),
    }
    return [
        Node(
            collect,
            inputs=[f"params:{ABOUT}", "table", "summary", "choice", *parts, *methods],
            outputs="results",
            name="collect_results",
        ),
        *(
            Node(draw, inputs="results", outputs=figure, name=f"draw_{figure}")
            for figure, draw in drawn.items()
        ),
        Node(render_study, inputs="results", outputs="page", name="write_page"),
    ]


def _entries(study: StudyParameters, entry: str, parts: Iterable[str]) -> dict[str, str]:
    """The entry of each part of a study: a name to use inside a pipeline, and its real one."""
    return {f"{part.replace('.', '__')}__{entry}": f"{study.name}.{part}.{entry}" for part in parts}


def _create_pooling(study: StudyParameters, metrics: dict[str, str]) -> Pipeline:
    predictions = _entries(study, "predictions", study.runs)
    node = Node(
        pool_folds,
        inputs=[f"params:{ABOUT}", "params:evaluation", *metrics, *predictions],
        outputs=["out_of_fold_predictions", "fold_metrics", "label_issues"],
        name="pool_folds",
    )
    return Pipeline(
        [node],
        namespace=study.name,
        inputs=metrics | predictions,
        parameters={"params:evaluation"},
    )
