"""From a folder of images to the image index and the split."""

from deepfake_detection.pipelines.data_preparation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
