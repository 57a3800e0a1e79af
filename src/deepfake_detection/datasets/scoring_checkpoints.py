"""Scores of unfinished scoring runs in the catalog."""

from deepfake_detection.datasets.handle import HandleDataset
from deepfake_detection.models.scoring_checkpoints import ScoringCheckpoints


class ScoringCheckpointsDataset(HandleDataset):
    """A folder of scores. A hook deletes those of a scoring run once its table is saved."""

    handle = ScoringCheckpoints
