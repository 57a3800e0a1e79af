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
from deepfake_detection.pipelines import data_preparation, studies
from deepfake_detection.pipelines.calibration.pipeline import create_external_calibration
from deepfake_detection.pipelines.data_preparation.pipeline import create_leakage_pipeline
from deepfake_detection.pipelines.evaluation.pipeline import create_external_pipeline

log = logging.getLogger(__name__)

_MAIN_JOB = ("data_preparation", "training", "evaluation", "robustness", "reporting")
_OTHERS = (
    "face_extraction", "explanation", "final_training", "inference", "calibration", "export",
    "import_checkpoint", "paired_comparison", "training_samples",
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
    made["data_preparation"] = data_preparation.create_pipeline(faces=faces)
    # the report shows what explanation makes
    made["reporting"] += made["explanation"]
    return {
        "__default__": sum((made[name] for name in _MAIN_JOB), Pipeline([])),
        **made,
        "external_calibration": create_external_calibration(faces=external),
        "external_evaluation": create_external_pipeline(faces=external),
        "leakage_audit": create_leakage_pipeline(),
        **{
            study.name: studies.create_pipeline(study, faces=faces)
            for study in (loader.studies if loader else [])
        },
    }


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
