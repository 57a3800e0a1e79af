"""Trainings that are finished, found by the fingerprint of their run."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from deepfake_detection.models.detector_file import DetectorFile


@dataclass(frozen=True)
class FinishedRun:
    """What a training left: an uncalibrated detector, and the tables of `TrainedRun`."""

    detector: DetectorFile
    read_history: Callable[[], pd.DataFrame]
    read_validation_logits: Callable[[], pd.DataFrame]


# The newest finished training of each run fingerprint
FinishedRuns = dict[str, FinishedRun]
