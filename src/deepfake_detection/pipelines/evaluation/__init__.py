"""From a detector and labelled images to predictions and metrics."""

from deepfake_detection.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
