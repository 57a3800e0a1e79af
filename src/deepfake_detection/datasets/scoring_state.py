"""Scores of unfinished scorings in the catalog."""

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.scoring.state import ScoringStates


class ScoringStateDataset(HandleDataset):
    """A folder of scores. A hook removes those of a scoring once its table is saved."""

    handle = ScoringStates
