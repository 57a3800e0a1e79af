"""Image index, split and leakage audit of a folder of images."""

from deepfake_detection.pipelines.data_preparation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
