"""What the trainings of a study keep, and how finished ones are found again."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.models.detector_file import DetectorFile, DetectorSlot
from deepfake_detection.training.checkpoints import TrainingCheckpoints

log = logging.getLogger(__name__)

_DETECTOR, _HISTORY = "detector.safetensors", "training_history.csv"


@dataclass(frozen=True)
class FinishedTraining:
    """What a training left: its history, and its detector as a file."""

    history: pd.DataFrame
    detector: DetectorFile


@dataclass(frozen=True)
class FinishedTrainings:
    """The folder of a row's detectors and histories, all versions of them.

    A file's existence says nothing: settings or split may have changed since. The fingerprint in
    the detector's card says which run it is of.
    """

    folder: Path

    def find(self, run_fingerprint: str) -> FinishedTraining | None:
        """The latest training of this run, None if there is none."""
        for path in sorted((self.folder / _DETECTOR).glob(f"*/{_DETECTOR}"), reverse=True):
            detector = DetectorFile(path)
            try:
                its_run = detector.read_card().run_fingerprint
            except UserError as error:
                log.warning("Passed over: %s", error)
                continue
            # it was saved before the detector, under the same version
            history = self.folder / _HISTORY / path.parent.name / _HISTORY
            if its_run == run_fingerprint and history.is_file():
                return FinishedTraining(pd.read_csv(history), detector)
        return None


@dataclass(frozen=True)
class KeptTrainings:
    """The folder of a study's trainings, with a folder for each run."""

    folder: Path

    def finished(self, run: str) -> FinishedTrainings:
        """Its detectors and histories, in all versions."""
        return FinishedTrainings(self.folder / run)

    def states(self, run: str) -> TrainingCheckpoints:
        """Where its unfinished trainings keep their states."""
        return TrainingCheckpoints(self.folder / run / "training_checkpoints")

    def best_so_far(self, run: str) -> DetectorSlot:
        """Where its best epoch is kept if the loss does not stay finite."""
        return DetectorSlot(self.folder / run / "best_so_far.safetensors")
