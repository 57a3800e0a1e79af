"""What runs left, in the catalog: places in which nodes find it again."""

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.metrics.finished import KeptMetrics, KeptScores
from deepfake_detection.training.run_store import KeptTrainings


class KeptTrainingsDataset(HandleDataset):
    """The folder of a study's detectors, histories and training states, in all versions."""

    handle = KeptTrainings


class KeptScoresDataset(HandleDataset):
    """The folder of a study's predictions and metrics, in all versions."""

    handle = KeptScores


class KeptMetricsDataset(HandleDataset):
    """The folder of the scores of all detectors, in all versions."""

    handle = KeptMetrics
