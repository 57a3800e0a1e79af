"""The catalog's dataset of training checkpoints."""

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.training.checkpoints import TrainingCheckpoints


class TrainingCheckpointsDataset(HandleDataset):
    """A folder of checkpoints. A hook removes a run's checkpoint once its detector is saved."""

    handle = TrainingCheckpoints
