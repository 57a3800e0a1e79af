"""The project's pipelines by name."""

import logging
import os
from pathlib import Path

from kedro.framework.project import pipelines as registered_pipelines
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
from deepfake_detection.pipelines.data_preparation.pipeline import create_indexing_pipeline
from deepfake_detection.pipelines.evaluation.pipeline import create_external_pipeline

log = logging.getLogger(__name__)

# The studies of the session at hand. Pipelines are registered without a word of its environment and
# parameters, which studies are made of
_session: dict[str, list[StudyParameters]] = {}


def use_studies(planned: list[StudyParameters]) -> None:
    """Register these studies' pipelines from now on, in place of those of an earlier session."""
    if _session.get("studies") != planned:
        _session["studies"] = planned
        registered_pipelines.configure(__name__)


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline by name; `__default__` is the main job."""
    explained = explanation.create_pipeline()
    main_job = {
        "data_preparation": data_preparation.create_pipeline(),
        "training": training.create_pipeline(),
        "evaluation": evaluation.create_pipeline(),
        "robustness": robustness.create_pipeline(),
        # the report shows what explanation makes
        "reporting": explained + reporting.create_pipeline(),
    }
    external_evaluation = Pipeline(
        create_indexing_pipeline() + create_external_pipeline(),
        namespace="external",
        inputs={
            "training_images": "external_images",
            "detector": "detector",
            "kept_metrics": "kept_metrics",
        },
        parameters={
            "params:data_preparation": "params:external_evaluation",
            "params:external_evaluation": "params:external_evaluation",
            "params:evaluation": "params:evaluation",
            "params:pixels": "params:pixels",
        },
    )
    return {
        "__default__": sum(main_job.values(), Pipeline([])),
        **main_job,
        "explanation": explained,
        "external_evaluation": external_evaluation,
        "final_training": final_training.create_pipeline(),
        "inference": inference.create_pipeline(),
        "calibration": calibration.create_pipeline(),
        "export": export.create_pipeline(),
        "paired_comparison": paired_comparison.create_pipeline(),
        **{
            study.name: studies.create_pipeline(study)
            for study in (_session["studies"] if _session else _read_studies())
        },
    }


def _read_studies() -> list[StudyParameters]:
    """Those of the parameter files, for commands without a session, as `kedro registry list`."""
    project = find_kedro_project(Path.cwd())
    try:
        loader = StudyConfigLoader(
            conf_source=str(Path(project or ".") / settings.CONF_SOURCE),
            env=os.environ.get("KEDRO_ENV"),
            **settings.CONFIG_LOADER_ARGS,
        )
        loader["parameters"]
        return list(loader.studies)
    # whatever is wrong with the files, other pipelines can be listed
    except Exception as error:
        log.warning("The studies are left out: %s", first_line(error))
        return []
