"""From a split and pixels to a detector and its training history."""

from deepfake_detection.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
