"""What a network sees of the training images."""

from deepfake_detection.pipelines.training_samples.pipeline import create_pipeline

__all__ = ["create_pipeline"]
