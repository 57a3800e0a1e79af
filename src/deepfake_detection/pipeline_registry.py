"""The project's pipelines by name."""

import logging
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from kedro.framework.project import settings
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.errors import first_line
from deepfake_detection.pipelines import (
    data_preparation,
    generalisation,
    paired_comparison,
    studies,
)
from deepfake_detection.pipelines.calibration.pipeline import create_external_calibration
from deepfake_detection.pipelines.data_preparation.pipeline import (
    create_leakage_pipeline,
    create_shortcut_pipeline,
)
from deepfake_detection.pipelines.evaluation.pipeline import create_external_pipeline
from deepfake_detection.pipelines.robustness.pipeline import create_external_robustness

log = logging.getLogger(__name__)

_MAIN_JOB = ("data_preparation", "training", "evaluation", "robustness", "reporting")
_OTHERS = (
    "face_extraction", "explanation", "final_training", "inference", "calibration", "export",
    "import_checkpoint", "paired_comparison", "sample_size", "training_samples",
)  # fmt: skip


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline by name; `__default__` is the main job."""
    made: dict[str, Pipeline] = {
        name: import_module(f"{__package__}.pipelines.{name}").create_pipeline()
        for name in (*_MAIN_JOB, *_OTHERS)
    }
    loader = _read_parameters()
    faces = loader is not None and loader.own.data_preparation.images == "faces"
    external = loader is not None and loader.own.external_evaluation.images == "faces"
    sets = list(loader.own.generalisation.sets) if loader else []
    made["data_preparation"] = data_preparation.create_pipeline(faces=faces)
    named = loader is not None and bool(loader.own.paired_comparison.detectors)
    made["paired_comparison"] = paired_comparison.create_pipeline(named=named)
    named = loader is not None and bool(loader.own.generalisation.detectors)
    made["generalisation"] = generalisation.create_pipeline(named=named, sets=sets)
    # the report shows what explanation makes
    made["reporting"] += made["explanation"]
    parts = {name: {node.name for node in made[name].nodes} for name in _MAIN_JOB}
    registered = {
        "__default__": sum((made[name] for name in _MAIN_JOB), Pipeline([])),
        **made,
        "external_calibration": create_external_calibration(faces=external),
        "external_evaluation": create_external_pipeline(faces=external),
        "external_robustness": create_external_robustness(),
        "leakage_audit": create_leakage_pipeline(),
        "shortcut_audit": create_shortcut_pipeline(faces=faces),
        **{
            study.name: studies.create_pipeline(study, faces=faces, sets=sets)
            for study in (loader.studies if loader else [])
        },
    }
    return {name: _group(pipeline, parts) for name, pipeline in registered.items()}


def _group(pipeline: Pipeline, parts: Mapping[str, set[str]]) -> Pipeline:
    """Put the nodes of each part of the main job into a namespace, also where others use them.

    Kedro-Viz shows a namespace as a box. Names of catalog entries and parameters stay.
    """
    grouped = Pipeline([])
    rest = {node.name for node in pipeline.nodes}
    for part, names in parts.items():
        if own := rest & names:
            of_part = pipeline.only_nodes(*own)
            grouped += Pipeline(of_part, namespace=part, prefix_datasets_with_namespace=False)
            rest -= own
    return grouped + (pipeline.only_nodes(*rest) if rest else Pipeline([]))


def _read_parameters() -> StudyConfigLoader | None:
    """The parameters of the session; those of the files, for `kedro registry list`."""
    loader = StudyConfigLoader.latest or StudyConfigLoader(
        conf_source=str((find_kedro_project(Path.cwd()) or Path()) / settings.CONF_SOURCE),
        env=os.environ.get("KEDRO_ENV"),
        **settings.CONFIG_LOADER_ARGS,
    )
    try:
        loader.complete()
    # whatever is wrong with the files, the other pipelines can be listed
    except Exception as error:
        log.warning("The studies are left out: %s", first_line(error))
        return None
    return loader
