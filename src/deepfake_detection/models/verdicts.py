"""What a detector calls an image: real, fake, or unsure, by rules that its card holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Verdict = Literal["real", "fake", "unsure"]
Doubt = Literal["unlike training", "near the threshold"]
Floats = np.ndarray[Any, np.dtype[np.float64]]
Texts = np.ndarray[Any, np.dtype[np.object_]]

UNLIKE: Doubt = "unlike training"
NEAR: Doubt = "near the threshold"
# Of several faces or tracks, the first of these that one of them has is the verdict of all
_ORDER: tuple[Verdict, ...] = ("fake", "unsure", "real")


@dataclass(frozen=True)
class VerdictRule:
    """How a fake probability and a training distance become a verdict.

    Attributes:
        threshold: Fake is from this probability on.
        unsure: The verdict is unsure where low ≤ probability < high; None: nowhere.
        unlike_from: It is unsure above this training distance; None: at none.
    """

    threshold: float
    unsure: tuple[float, float] | None = None
    unlike_from: float | None = None

    @classmethod
    def of(cls, threshold: float, calibration: Mapping[str, Any]) -> VerdictRule:
        """That of a detector's card; older ones have nothing but a threshold."""
        kept = calibration.get("verdict", {})
        low_high = kept.get("unsure")
        return cls(threshold, low_high and (low_high[0], low_high[1]), kept.get("unlike_from"))

    def judge(self, probabilities: Floats, distances: Floats) -> tuple[Texts, Texts]:
        """Verdicts and doubts (None where the verdict is sure), objects, [n].

        Distances are NaN where they are unknown.
        """
        doubts = np.full(np.shape(probabilities), None, dtype=object)
        if self.unsure is not None:
            low, high = self.unsure
            doubts[(probabilities >= low) & (probabilities < high)] = NEAR
        if self.unlike_from is not None:
            # NaN compares false
            doubts[distances > self.unlike_from] = UNLIKE
        verdicts = np.where(probabilities >= self.threshold, "fake", "real").astype(object)
        verdicts[[doubt is not None for doubt in doubts]] = "unsure"
        return verdicts, doubts


def rank(verdict: Verdict, logit: float) -> tuple[int, float]:
    """Order of faces and tracks: the last one decides on a picture or a video."""
    return -_ORDER.index(verdict), logit
