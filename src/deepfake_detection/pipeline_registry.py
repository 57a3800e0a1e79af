"""The project's pipelines by name."""

import logging
import os
from importlib import import_module
from pathlib import Path

from kedro.framework.project import settings
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.errors import first_line
from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines import studies
from deepfake_detection.pipelines.data_preparation.pipeline import create_leakage_pipeline
from deepfake_detection.pipelines.evaluation.pipeline import create_external_pipeline

log = logging.getLogger(__name__)

_MAIN_JOB = ("data_preparation", "training", "evaluation", "robustness", "reporting")
_OTHERS = (
    "face_extraction", "explanation", "final_training", "inference", "calibration", "export",
    "paired_comparison",
)  # fmt: skip


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline by name; `__default__` is the main job."""
    made: dict[str, Pipeline] = {
        name: import_module(f"{__package__}.pipelines.{name}").create_pipeline()
        for name in (*_MAIN_JOB, *_OTHERS)
    }
    # the report shows what explanation makes
    made["reporting"] += made["explanation"]
    return {
        "__default__": sum((made[name] for name in _MAIN_JOB), Pipeline([])),
        **made,
        "external_evaluation": create_external_pipeline(),
        "leakage_audit": create_leakage_pipeline(),
        **{study.name: studies.create_pipeline(study) for study in _list_studies()},
    }


def _list_studies() -> list[StudyParameters]:
    """The studies of the session; those of the parameter files, for `kedro registry list`."""
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
        return []
    return loader.studies
