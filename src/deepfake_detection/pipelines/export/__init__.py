"""Export a detector to files that work without this project."""

from deepfake_detection.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
