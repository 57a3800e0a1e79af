"""The pipeline of a study: its runs in namespaces of their own, and their tables and page."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from kedro.pipeline import Node, Pipeline

from deepfake_detection.parameters import RunParameters, StudyParameters
from deepfake_detection.pipelines import calibration, training
from deepfake_detection.pipelines.data_preparation.pipeline import (
    create_indexing_pipeline,
    create_splitting_pipeline,
)
from deepfake_detection.pipelines.generalisation.pipeline import OF_SETS, name_folders
from deepfake_detection.pipelines.studies.elsewhere import (
    compare_steps_elsewhere,
    score_elsewhere,
)
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
from deepfake_detection.pipelines.studies.steps import compare_steps
from deepfake_detection.pipelines.studies.tables import (
    compare_split_methods,
    leaves_out,
    pairs_of_methods,
    summarise_rows,
    tabulate_kinds,
)

# A cluster gives nodes with this tag to workers with a device
TRAINING = "training"


def create_pipeline(
    study: StudyParameters, *, faces: bool = False, sets: Collection[str] = ()
) -> Pipeline:
    """From a folder of images to all runs of a study, its tables, figures and page.

    `faces`: the images are those of the face index, not a folder of images. `sets`: the names of
    the sets of `generalisation`, on which a cumulative study is also scored.
    """
    pixels = {f"{study.name}.{name_of_pixels(run)}" for run in study.runs.values()}
    return Pipeline(
        [
            create_indexing_pipeline(faces=faces),
            *(_create_split(f"{study.name}.{SPLIT}{name}") for name in study.splits),
            *map(_create_pixels, sorted(pixels)),
            *(_create_run(study, name, run) for name, run in study.runs.items()),
            *_create_tables(study, sets),
        ]
    )


def _create_split(at: str) -> Pipeline:
    made = create_splitting_pipeline(audited=False)
    shared = {"params:data_preparation"}
    return Pipeline(made, namespace=at, inputs={"image_index"}, parameters=shared)


def _create_pixels(at: str) -> Pipeline:
    made = training.create_pipeline().only_nodes("build_pixel_cache")
    shared = {"training_images", "image_index"}
    return Pipeline(made, namespace=at, inputs=shared, parameters={"params:pixels"})


def _create_run(study: StudyParameters, name: str, run: RunParameters) -> Pipeline:
    prepared = ["split", "split_summary", "pixel_cache"]
    kept = ["finished_runs", "training_checkpoints", "best_so_far"]
    scored = ["detector", "training_history", "split", "pixel_cache", "finished_scores"]
    nodes = [
        Node(
            train_run,
            inputs=[*prepared, *kept, "params:model", "params:backbones", "params:training"],
            # the detector last: once it is saved, the checkpoint is removed
            outputs=["training_history", "validation_logits", "uncalibrated_detector"],
            name="train",
            tags=TRAINING,
        ),
        *calibration.create_pipeline().nodes,
        Node(
            score_run,
            inputs=[*scored, "params:evaluation"],
            # the metrics last: where they exist, the others do
            outputs=["predictions", "metric_table", "metrics"],
            name="score",
            tags=TRAINING,
        ),
    ]
    split = f"{study.name}.{SPLIT}{run.split.name}"
    return Pipeline(
        nodes,
        namespace=f"{study.name}.{name}",
        inputs={
            "split": f"{split}.split",
            "split_summary": f"{split}.split_summary",
            "pixel_cache": f"{study.name}.{name_of_pixels(run)}.pixel_cache",
        },
        parameters={"params:evaluation"},
    )


def _create_tables(study: StudyParameters, sets: Collection[str]) -> Iterator[Node]:
    def create(
        function: Callable[..., Any], inputs: dict[str, str], *outputs: str, by_name: bool = False
    ) -> Node:
        named = _name_entries(study, *outputs)
        listed = list(named.values())
        return Node(
            function,
            inputs={"study": f"params:{study.name}.{ABOUT}"} | inputs,
            # a list of one would need a function that returns a list
            outputs=named if by_name else listed[0] if len(listed) == 1 else listed or None,
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
    yield create(gather_predictions, predictions, "predictions")
    gathered = _name_entries(study, "predictions") | {"evaluation": "params:evaluation"}
    yield create(tabulate, gathered | metrics | metric_tables | summaries, "table", "choice")
    of_page = _name_entries(study, "table", "summary", "choice", "finished_reports")
    of_page |= histories | summaries
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
    if leaves_out(study):
        yield create(tabulate_kinds, metric_tables, "kinds")
        of_page |= _name_entries(study, "kinds")
    if study.cumulative:
        yield create(compare_steps, gathered | histories, "steps")
        of_page |= _name_entries(study, "steps")
        drawn.append("steps_figure")
        if sets:
            detectors = _name_results(study, "detector", study.runs)
            given = OF_SETS | name_folders(sets) | detectors
            yield create(score_elsewhere, given, "set_predictions")
            of_steps = _name_entries(study, "set_predictions")
            of_steps["evaluation"] = "params:evaluation"
            yield create(compare_steps_elsewhere, of_steps, "steps_elsewhere")
            of_page |= _name_entries(study, "steps_elsewhere")
    yield create(report_study, of_page, "page", *drawn, by_name=True)


def _name_entries(study: StudyParameters, *names: str) -> dict[str, str]:
    """The study's own catalog entries, by argument."""
    return {name: f"{study.name}.{name}" for name in names}


def _name_results(study: StudyParameters, kind: str, parts: Iterable[str]) -> dict[str, str]:
    """The catalog entries of its runs or splits, by arguments such as `metrics:baseline`."""
    return {f"{kind}:{part.removeprefix(SPLIT)}": f"{study.name}.{part}.{kind}" for part in parts}
