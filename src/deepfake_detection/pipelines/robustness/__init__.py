"""From a scored detector to how it stands distorted pictures."""

from deepfake_detection.pipelines.robustness.pipeline import create_pipeline

__all__ = ["create_pipeline"]
