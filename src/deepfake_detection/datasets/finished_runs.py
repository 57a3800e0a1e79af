"""What the runs of a study left, in the catalog."""

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.learning.finished import FinishedTrainings
from deepfake_detection.scoring.finished import FinishedScores, KeptMetrics


class FinishedTrainingsDataset(HandleDataset):
    """The folder of a run's `detector.safetensors` and `training_history.csv`, in all versions."""

    handle = FinishedTrainings


class FinishedScoresDataset(HandleDataset):
    """The folder of a run's predictions, metrics and `result.json`, in all versions."""

    handle = FinishedScores


class KeptMetricsDataset(HandleDataset):
    """The folder of the scores of all detectors, in all versions."""

    handle = KeptMetrics
