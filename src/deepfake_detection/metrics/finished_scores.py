"""The scores of earlier runs: predictions and metrics, found by what they were made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from deepfake_detection.models.detector import DetectorCard
from deepfake_detection.parameters import EvaluationParameters


@dataclass(frozen=True)
class Scores:
    """What scoring a run gives.

    Attributes:
        metrics: Nested, with the run's fingerprint, threshold and temperature.
        read_predictions: Reads a row for each scored image.
        read_metric_table: Reads a row for each metric.
    """

    metrics: Mapping[str, Any]
    read_predictions: Callable[[], pd.DataFrame]
    read_metric_table: Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class FinishedScores:
    """Scores in all versions of one place.

    Attributes:
        versions: The newest first.
    """

    versions: list[Scores] = field(default_factory=list)

    def find_metric_table(self, run_fingerprint: str) -> pd.DataFrame | None:
        """The newest metric table of a run; None if there is none."""
        for scores in self.versions:
            if scores.metrics.get("run_fingerprint") == run_fingerprint:
                return scores.read_metric_table()
        return None

    def find(self, card: DetectorCard, evaluation: EvaluationParameters) -> Scores | None:
        """The newest scores of a detector under these settings; None if there are none."""
        wanted = {
            "run_fingerprint": card.run_fingerprint,
            "threshold": card.threshold,
            "temperature": card.temperature,
            "evaluation": evaluation.model_dump(mode="json"),
        }
        for scores in self.versions:
            if all(scores.metrics.get(name) == value for name, value in wanted.items()):
                return scores
        return None
