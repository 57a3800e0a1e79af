"""What earlier runs left, in the catalog: all versions of it, found by run fingerprint."""

import json
import logging
from functools import partial
from pathlib import Path

import pandas as pd

from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError
from deepfake_detection.metrics.finished_scores import FinishedScores, Scores
from deepfake_detection.models.detector_file import DetectorFile
from deepfake_detection.training.results import FinishedRun, FinishedRuns

log = logging.getLogger(__name__)

_DETECTOR, _METRICS = "uncalibrated_detector.safetensors", "metrics.json"
# as in the catalog: a class folder called NA is no missing value
_TEXT = dict.fromkeys(("path", "class_name", "source", "group", "subset"), str)


def _read_predictions(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, keep_default_na=False, dtype=_TEXT)


def _read_csv(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


class _FolderDataset(ReadOnlyDataset):
    """All versions of some files in a folder, whether there are any or not."""

    def _versions(self, name: str) -> list[Path]:
        return sorted((self._path / name).glob(f"*/{name}"), reverse=True)

    def _of_version(self, name: str, version: str) -> Path:
        return self._path / name / version / name

    def _exists(self) -> bool:
        return True


class FinishedRunsDataset(_FolderDataset):
    """The trainings of one folder; loading gives `FinishedRuns`."""

    def load(self) -> FinishedRuns:
        """The newest training of each run fingerprint."""
        runs: FinishedRuns = {}
        for path in self._versions(_DETECTOR):
            detector, version = DetectorFile(path), path.parent.name
            try:
                run = detector.read_card().run_fingerprint
            except UserError as error:
                log.warning("Ignored: %s", error)
                continue
            # saved before the detector, under the same version
            history = self._of_version("training_history.csv", version)
            logits = self._of_version("validation_logits.parquet", version)
            if history.is_file() and logits.is_file():
                found = FinishedRun(
                    detector, partial(_read_csv, history), partial(pd.read_parquet, logits)
                )
                runs.setdefault(run, found)
        return runs


class FinishedScoresDataset(_FolderDataset):
    """The scores of one folder; loading gives `FinishedScores`."""

    def load(self) -> FinishedScores:
        """All versions that are complete, the newest first."""
        versions = []
        for path in self._versions(_METRICS):
            predictions, metric_table = (
                self._of_version(name, path.parent.name)
                for name in ("predictions.csv", "metric_table.csv")
            )
            try:
                metrics = json.loads(path.read_text(encoding="utf-8"))
            # a kill while it was written
            except ValueError:
                continue
            if predictions.is_file() and metric_table.is_file():
                read = partial(_read_predictions, predictions), partial(_read_csv, metric_table)
                versions.append(Scores(metrics, *read))
        return FinishedScores(versions)
