"""Scored pictures worth a look: errors and the most certain right verdicts, with heat maps."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["false negative", "false positive", "certain fake", "certain real"]
# label and prediction of each kind: 1 fake, 0 real
_OUTCOMES: dict[Kind, tuple[int, int]] = {
    "false negative": (1, 0), "false positive": (0, 1), "certain fake": (1, 1),
    "certain real": (0, 0),
}  # fmt: skip
KINDS: tuple[Kind, ...] = tuple(_OUTCOMES)
FALSE_KINDS: tuple[Kind, ...] = KINDS[:2]


@dataclass(frozen=True)
class ExplainedCase:
    """A scored picture with its heat map.

    Attributes:
        path: Relative to the image folder, with `/`.
        heat: float32, [crop, crop], in [0, 1]: how much each pixel that the network saw
            contributed to the verdict, relative to the strongest; None where `problem` says why.
        box: Left, top, right and bottom of what the network saw, as shares of the upright
            picture's width and height.
    """

    path: str
    kind: Kind
    class_name: str
    source: str
    fake_probability: float
    heat: np.ndarray[Any, np.dtype[np.float32]] | None
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    problem: str = ""


def label_of(kind: Kind) -> int:
    """The label of pictures of this kind: 1 fake, 0 real."""
    return _OUTCOMES[kind][0]


def rank_cases(scored: pd.DataFrame, kind: Kind) -> pd.DataFrame:
    """The rows of one kind, those with the most confident verdict first."""
    label, called = _OUTCOMES[kind]
    rows = scored[(scored["label"] == label) & (scored["predicted"] == called)]
    # probabilities may tie where logits do not
    keys = ["fake_probability", "logit", "path"]
    return rows.sort_values(keys, ascending=[called == 0, called == 0, True])
