"""Explanation: where the reasons for verdicts lie, and what false cases have in common."""

from deepfake_detection.pipelines.explanation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
