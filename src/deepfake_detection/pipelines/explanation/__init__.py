"""Explanation: heat maps of verdicts, and what the errors have in common."""

from deepfake_detection.pipelines.explanation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
