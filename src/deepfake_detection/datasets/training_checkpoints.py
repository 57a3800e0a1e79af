"""Training states in the catalog."""

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.training.checkpoints import TrainingCheckpoints


class TrainingCheckpointsDataset(HandleDataset):
    """A folder of training states. A hook removes the state of a run once its detector is saved."""

    handle = TrainingCheckpoints
