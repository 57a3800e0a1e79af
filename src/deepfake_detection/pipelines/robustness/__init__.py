"""Robustness: the scored pictures again, distorted."""

from deepfake_detection.pipelines.robustness.pipeline import create_pipeline

__all__ = ["create_pipeline"]
