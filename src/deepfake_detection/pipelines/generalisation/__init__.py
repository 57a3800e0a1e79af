"""The pipeline `generalisation`: detectors on labelled sets from elsewhere."""

from deepfake_detection.pipelines.generalisation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
