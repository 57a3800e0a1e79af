"""Training on all labelled images, with the settings of a run that was scored."""

from deepfake_detection.pipelines.final_training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
