"""Make a detector file of a published checkpoint."""

from deepfake_detection.pipelines.import_checkpoint.pipeline import create_pipeline

__all__ = ["create_pipeline"]
