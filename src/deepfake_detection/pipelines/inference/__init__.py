"""Score pictures and videos without labels."""

from deepfake_detection.pipelines.inference.pipeline import create_pipeline

__all__ = ["create_pipeline"]
