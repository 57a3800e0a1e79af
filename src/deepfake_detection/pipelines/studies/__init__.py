"""Studies: many runs → one table."""

from deepfake_detection.pipelines.studies.pipeline import create_pipeline

__all__ = ["create_pipeline"]
