"""How fast this machine trains, against the plain recipe and the bare step."""

from deepfake_detection.pipelines.benchmark.pipeline import create_pipeline

__all__ = ["create_pipeline"]
