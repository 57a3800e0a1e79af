"""Threshold, temperature and source score of a detector, without training again."""

from deepfake_detection.pipelines.calibration.pipeline import create_pipeline

__all__ = ["create_pipeline"]
