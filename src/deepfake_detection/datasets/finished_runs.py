"""What earlier runs left, in the catalog: all versions of it, found by run fingerprint."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import DatasetError

from deepfake_detection.datasets.atomic import AtomicDataset
from deepfake_detection.datasets.csv_table import CsvTableDataset
from deepfake_detection.datasets.read_only import ReadOnlyDataset
from deepfake_detection.errors import UserError, first_line, user_error_behind
from deepfake_detection.metrics.finished_scores import FinishedScores, Scores
from deepfake_detection.models.detector_file import DetectorFile
from deepfake_detection.training.results import FinishedRun, FinishedRuns

log = logging.getLogger(__name__)

_DETECTOR, _METRICS = "uncalibrated_detector.safetensors", "metrics.json"
# As in the catalog
_CSV = {"type": f"{CsvTableDataset.__module__}.{CsvTableDataset.__name__}"}
_TEXT = dict.fromkeys(("class_name", "source", "group", "subset"), str)
_MISSING = dict.fromkeys(("unlikeness", "fake_probability", "predicted"), "")
_IMAGE_TABLE = {"keep_default_na": False, "na_values": _MISSING, "dtype": _TEXT}
_PREDICTIONS = _CSV | {"load_args": _IMAGE_TABLE}
_COMPARED = _CSV | {"load_args": _IMAGE_TABLE | {"dtype": _TEXT | {"detector": str}}}
_PARQUET = {"type": "pandas.ParquetDataset"}
_JSON = {"type": "json.JSONDataset"}


def _read(path: Path, dataset: dict[str, Any]) -> Any:
    return AtomicDataset(filepath=str(path), dataset=dataset).load()


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
                    detector, partial(_read, history, _CSV), partial(_read, logits, _PARQUET)
                )
                runs.setdefault(run, found)
        return runs


class FinishedScoresDataset(_FolderDataset):
    """The scores of one folder; loading gives `FinishedScores`."""

    def load(self) -> FinishedScores:
        """All versions that are complete, the newest first."""
        versions = []
        for path in self._versions(_METRICS):
            # beside it, FOLDER/FILE/VERSION/FILE
            predictions, metric_table = (
                path.parents[2] / name / path.parent.name / name
                for name in ("predictions.csv", "metric_table.csv")
            )
            try:
                metrics = _read(path, _JSON)
            except DatasetError as error:
                log.warning("Ignored: %s", user_error_behind(error) or first_line(error))
                continue
            if predictions.is_file() and metric_table.is_file():
                read = (
                    partial(_read, predictions, _PREDICTIONS),
                    partial(_read, metric_table, _CSV),
                )
                versions.append(Scores(metrics, *read))
        return FinishedScores(versions)


class AllFinishedScoresDataset(FinishedScoresDataset):
    """The scores of all folders below one; loading gives `FinishedScores`."""

    def _versions(self, name: str) -> list[Path]:
        found = self._path.glob(f"**/{name}/*/{name}")
        return sorted(found, key=lambda path: path.parent.name, reverse=True)


class FinishedComparisonsDataset(_FolderDataset):
    """The predictions of several detectors in one folder; loading gives the latest, or None."""

    def load(self) -> pd.DataFrame | None:
        """The predictions of `paired_comparison`, with column detector."""
        versions = self._versions("compared_predictions.csv")
        return _read(versions[0], _COMPARED) if versions else None


class FinishedReportsDataset(_FolderDataset):
    """The reports in the folders of one folder; loading gives their paths, relative to it."""

    def load(self) -> dict[str, str]:
        """The newest report of each run fingerprint, by what its findings say."""
        reports = {}
        for path in sorted(self._path.glob("*/findings.json/*/findings.json"), key=_version_of):
            report = path.parents[2] / "report.html" / path.parent.name / "report.html"
            if report.is_file():
                reports[_read(path, _JSON)["run_fingerprint"]] = str(report.relative_to(self._path))
        return reports


def _version_of(path: Path) -> str:
    return path.parent.name
