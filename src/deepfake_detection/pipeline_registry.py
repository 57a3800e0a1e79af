"""The project's pipelines by name."""

from kedro.pipeline import Pipeline

from deepfake_detection.pipelines import (
    benchmark,
    calibration,
    data_preparation,
    evaluation,
    paired_comparison,
    reporting,
    training,
)
from deepfake_detection.pipelines.data_preparation.pipeline import create_indexing_pipeline
from deepfake_detection.pipelines.evaluation.pipeline import create_external_pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """Each pipeline by name; `__default__` is the main job."""
    main_job = {
        "data_preparation": data_preparation.create_pipeline(),
        "training": training.create_pipeline(),
        "evaluation": evaluation.create_pipeline(),
        "reporting": reporting.create_pipeline(),
    }
    external_evaluation = Pipeline(
        create_indexing_pipeline() + create_external_pipeline(),
        namespace="external",
        inputs={"training_images": "external_images", "detector": "detector"},
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
        "external_evaluation": external_evaluation,
        "benchmark": benchmark.create_pipeline(),
        "calibration": calibration.create_pipeline(),
        "paired_comparison": paired_comparison.create_pipeline(),
    }
