"""Reporting: tables become figures, galleries and one page."""

from deepfake_detection.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
