"""The scores of earlier runs: predictions and metrics, found by what they were made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from deepfake_detection.metrics.caveats import EXTERNAL
from deepfake_detection.models.detector import DetectorCard
from deepfake_detection.models.source_score import SourceScore
from deepfake_detection.parameters import EvaluationParameters


@dataclass(frozen=True)
class Scores:
    """What scoring a run gives: its metrics, nested, and what reads its tables."""

    metrics: Mapping[str, Any]
    read_predictions: Callable[[], pd.DataFrame]
    read_metric_table: Callable[[], pd.DataFrame]


@dataclass(frozen=True)
class FinishedScores:
    """Scores in all versions of one place, the newest first."""

    versions: list[Scores] = field(default_factory=list)

    def find_metric_table(self, run_fingerprint: str) -> pd.DataFrame | None:
        """The newest metric table of a run; None if there is none."""
        scores = self._newest(run_fingerprint=run_fingerprint)
        return scores.read_metric_table() if scores else None

    def find_predictions(self, card: DetectorCard) -> pd.DataFrame | None:
        """The newest predictions of a detector on its own split, calibrated as now; or None."""
        own = [each for each in self.versions if EXTERNAL not in each.metrics.get("subsets", ())]
        scores = FinishedScores(own)._newest(
            run_fingerprint=card.run_fingerprint,
            threshold=card.threshold,
            temperature=card.temperature,
            source_score=SourceScore.of(card.calibration).as_json(),
        )
        return scores.read_predictions() if scores else None

    def find(self, card: DetectorCard, evaluation: EvaluationParameters) -> Scores | None:
        """The newest scores of a detector under these settings; None if there are none."""
        return self._newest(
            run_fingerprint=card.run_fingerprint,
            threshold=card.threshold,
            temperature=card.temperature,
            evaluation=evaluation.model_dump(mode="json"),
            source_score=SourceScore.of(card.calibration).as_json(),
        )

    def _newest(self, **wanted: Any) -> Scores | None:
        for scores in self.versions:
            # an older version does not name it
            found = {**scores.metrics, "source_score": SourceScore.of(scores.metrics).as_json()}
            if all(found.get(name) == value for name, value in wanted.items()):
                return scores
        return None
