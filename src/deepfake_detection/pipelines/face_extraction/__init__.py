"""Face extraction: videos and photographs → crops of faces with their labels and sources."""

from deepfake_detection.pipelines.face_extraction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
