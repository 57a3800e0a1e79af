"""Scores that are kept, found again by the fingerprint of their run."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_detection.parameters import EvaluationParameters

_METRICS = "metrics.json"


@dataclass(frozen=True)
class Scores:
    """What scoring a run of a study gives: predictions, and their metrics as table and JSON."""

    predictions: pd.DataFrame
    metric_table: pd.DataFrame
    metrics: dict[str, Any]


@dataclass(frozen=True)
class KeptScores:
    """The folder of a study's scores, with a folder for each run."""

    folder: Path

    def find(
        self, run: str, run_fingerprint: str, evaluation: EvaluationParameters
    ) -> Scores | None:
        """The latest scores of a run with this fingerprint and settings, None if there are none."""
        for path in sorted((self.folder / run / _METRICS).glob(f"*/{_METRICS}"), reverse=True):
            try:
                metrics = json.loads(path.read_text(encoding="utf-8"))
            # a kill while it was written
            except ValueError:
                continue
            same_run = metrics.get("run_fingerprint") == run_fingerprint
            if same_run and metrics.get("evaluation") == evaluation.model_dump(mode="json"):
                return self._read(run, path.parent.name, metrics)
        return None

    def _read(self, run: str, version: str, metrics: dict[str, Any]) -> Scores | None:
        def at(name: str) -> Path:
            return self.folder / run / name / version / name

        # text as in the catalog: a folder called NA is no missing value
        text = dict.fromkeys(("path", "class_name", "source", "group", "subset"), str)
        try:
            return Scores(
                pd.read_csv(
                    at("predictions.csv"),
                    keep_default_na=False,
                    dtype=text,
                ),
                pd.read_csv(at("metric_table.csv")),
                metrics,
            )
        except FileNotFoundError:
            return None


@dataclass(frozen=True)
class KeptMetrics:
    """The folder of all scores, in which those of a detector on its own split are found."""

    folder: Path

    def find(self, run_fingerprint: str) -> pd.DataFrame | None:
        """The latest metric table of this run on its own split, None if there is none."""
        paths = self.folder.rglob("metrics.json/*/metrics.json")
        for path in sorted(paths, key=lambda path: path.parent.name, reverse=True):
            try:
                metrics = json.loads(path.read_text(encoding="utf-8"))
            # a kill while it was written
            except ValueError:
                continue
            own = "split_fingerprint" in metrics and not metrics["subsets"].keys() - {
                "validation",
                "test",
            }
            table = path.parents[2] / "metric_table.csv" / path.parent.name / "metric_table.csv"
            if own and metrics["run_fingerprint"] == run_fingerprint and table.is_file():
                return pd.read_csv(table)
        return None
