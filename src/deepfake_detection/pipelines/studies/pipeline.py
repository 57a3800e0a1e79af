"""The pipeline of a study: its runs in namespaces of their own, and their tables and page."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kedro.pipeline import Node, Pipeline

from deepfake_detection.parameters import RunParameters, StudyParameters
from deepfake_detection.pipelines.data_preparation.nodes import split_images, summarise_split
from deepfake_detection.pipelines.data_preparation.pipeline import create_indexing_pipeline
from deepfake_detection.pipelines.studies.folds import pool_folds
from deepfake_detection.pipelines.studies.nodes import (
    check_weights,
    gather_predictions,
    score_run,
    tabulate,
    train_run,
)
from deepfake_detection.pipelines.studies.page import report_study
from deepfake_detection.pipelines.studies.plan import ABOUT, SPLIT, name_of_pixels
from deepfake_detection.pipelines.studies.tables import (
    compare_split_methods,
    pairs_of_methods,
    summarise_rows,
)
from deepfake_detection.pipelines.training.nodes import request_pixels

# A cluster gives nodes with this tag to workers with a device
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
            *_create_tables(study),
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
                "kept_trainings",
                "params:name",
                "params:model",
                "params:backbones",
                "params:training",
                "params:calibration",
            ],
            # the detector last: once it is saved, the checkpoint is removed
            outputs=["training_history", "detector"],
            name="train",
            tags=TRAINING,
        ),
        Node(
            score_run,
            inputs=[
                "detector",
                "training_history",
                "split",
                "pixel_cache",
                "kept_scores",
                "params:name",
                "params:evaluation",
            ],
            # the metrics last: where they exist, the others do
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
            "kept_trainings": f"{study.name}.kept_trainings",
            "kept_scores": f"{study.name}.kept_scores",
        },
        parameters={"params:evaluation"},
    )


def _create_tables(study: StudyParameters) -> Iterator[Node]:
    def create(
        function: Callable[..., Any], inputs: dict[str, str], *outputs: str, by_name: bool = False
    ) -> Node:
        named = _name_entries(study, *outputs)
        return Node(
            function,
            inputs={"study": f"params:{study.name}.{ABOUT}"} | inputs,
            outputs=named if by_name else list(named.values()) or None,
            name=function.__name__,
            namespace=study.name,
        )

    table = _name_entries(study, "table")
    metrics = _name_results(study, "metrics", study.runs)
    metric_tables = _name_results(study, "metric_table", study.runs)
    predictions = _name_results(study, "predictions", study.runs)
    histories = _name_results(study, "training_history", study.runs)
    summaries = _name_results(study, "split_summary", [f"{SPLIT}{name}" for name in study.splits])
    yield create(check_weights, {})
    yield create(tabulate, metrics | metric_tables | summaries, "table", "choice")
    yield create(gather_predictions, predictions, "predictions")
    of_page = _name_entries(study, "table", "summary", "choice") | histories | summaries
    drawn = ["curves", "losses", "comparisons", "scores"]
    of_summary = table
    if study.folds:
        pooled = ("out_of_fold_predictions", "fold_metrics", "label_issues")
        evaluation = {"evaluation": "params:evaluation"}
        yield create(pool_folds, evaluation | metrics | predictions, *pooled)
        of_summary = _name_entries(study, "table", "fold_metrics")
    yield create(summarise_rows, of_summary, "summary")
    if pairs_of_methods(study):
        yield create(compare_split_methods, table, "inflation")
        of_page |= _name_entries(study, "inflation")
        drawn.append("inflation_figure")
    yield create(report_study, of_page, "page", *drawn, by_name=True)


def _name_entries(study: StudyParameters, *names: str) -> dict[str, str]:
    """The study's own catalog entries, by argument."""
    return {name: f"{study.name}.{name}" for name in names}


def _name_results(study: StudyParameters, kind: str, parts: Iterable[str]) -> dict[str, str]:
    """The catalog entries of its runs or splits, by arguments such as `metrics:baseline`."""
    return {f"{kind}:{part.removeprefix(SPLIT)}": f"{study.name}.{part}.{kind}" for part in parts}
