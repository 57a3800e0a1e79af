"""Compare two detectors on the same images."""

from deepfake_detection.pipelines.paired_comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
