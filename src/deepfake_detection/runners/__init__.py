"""Kedro runners: where and in which order nodes run."""

from deepfake_detection.runners.dask_runner import DaskRunner

__all__ = ["DaskRunner"]
