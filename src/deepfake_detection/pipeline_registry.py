"""The project's pipelines by name."""

import logging
import os
from pathlib import Path

from kedro.framework.project import settings
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.errors import first_line
from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines import (
    calibration,
    data_preparation,
    evaluation,
    explanation,
    export,
    final_training,
    inference,
    paired_comparison,
    reporting,
    robustness,
    studies,
    training,
)
from deepfake_detection.pipelines.evaluation.pipeline import create_external_pipeline

log = logging.getLogger(__name__)


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline by name; `__default__` is the main job."""
    main_job = {
        "data_preparation": data_preparation.create_pipeline(),
        "training": training.create_pipeline(),
        "evaluation": evaluation.create_pipeline(),
        "robustness": robustness.create_pipeline(),
        # the report shows what explanation makes
        "reporting": explanation.create_pipeline() + reporting.create_pipeline(),
    }
    return {
        "__default__": sum(main_job.values(), Pipeline([])),
        **main_job,
        "explanation": explanation.create_pipeline(),
        "external_evaluation": create_external_pipeline(),
        "final_training": final_training.create_pipeline(),
        "inference": inference.create_pipeline(),
        "calibration": calibration.create_pipeline(),
        "export": export.create_pipeline(),
        "paired_comparison": paired_comparison.create_pipeline(),
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
