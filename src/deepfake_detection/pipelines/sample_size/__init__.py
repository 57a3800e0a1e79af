"""Plan how many images a test set needs."""

from deepfake_detection.pipelines.sample_size.pipeline import create_pipeline

__all__ = ["create_pipeline"]
