"""From a detector to files with which it is used elsewhere, without this project."""

from deepfake_detection.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
