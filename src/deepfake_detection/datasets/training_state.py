"""Training states in the catalog."""

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.learning.state import TrainingStates


class TrainingStateDataset(HandleDataset):
    """A folder of training states. A hook removes the state of a run once its detector is saved."""

    handle = TrainingStates
