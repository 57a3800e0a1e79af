"""Two detectors on the same images: where they differ, and how sure that is."""

from deepfake_detection.pipelines.paired_comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
