"""Another threshold and temperature for a detector that is there, without training again."""

from deepfake_detection.pipelines.calibration.pipeline import create_pipeline

__all__ = ["create_pipeline"]
