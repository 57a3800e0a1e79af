"""Which errors of the headline subset are shown, and how many there are."""

from dataclasses import dataclass

import pandas as pd

from deepfake_detection.metrics.cases import Kind, label_of, rank_cases
from deepfake_detection.metrics.subsets import headline_predictions
from deepfake_detection.reports.words import counted


@dataclass(frozen=True)
class Gallery:
    """The errors of one kind in one subset."""

    kind: Kind
    subset: str
    cases: pd.DataFrame  # path, class_name, source, fake_probability, the most confident first
    total: int  # errors, shown or not
    candidates: int  # images of their class

    def in_words(self) -> str:
        """How many errors there are, among how many images, and how many are shown."""
        name = "fake" if label_of(self.kind) else "real image"
        if not self.candidates:
            return f"The subset {self.subset} holds no {name}s."
        among = f"among {counted(self.candidates, name)} of {self.subset}"
        if not self.total:
            return f"No {self.kind} {among}."
        words = f"{counted(self.total, self.kind)} {among}"
        if len(self.cases) < self.total:
            return f"{words}; the {len(self.cases):,} most confident are shown."
        return f"{words}." if self.total == 1 else f"{words}, the most confident first."


def collect_gallery(predictions: pd.DataFrame, kind: Kind, size: int) -> Gallery:
    """The errors of the headline subset, the most confident first, at most `size` of them."""
    subset, scored = headline_predictions(predictions)
    errors = rank_cases(scored, kind)
    cases = errors[["path", "class_name", "source", "fake_probability"]].head(size)
    candidates = int((scored["label"] == label_of(kind)).sum())
    return Gallery(kind, subset, cases, len(errors), candidates)
