"""Scored pictures worth a look: errors and the most certain right verdicts, with heat maps."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

Kind = Literal["false negative", "false positive", "certain fake", "certain real"]
KINDS: tuple[Kind, ...] = ("false negative", "false positive", "certain fake", "certain real")
FALSE_KINDS: tuple[Kind, ...] = KINDS[:2]

# label and prediction of each kind: 1 fake, 0 real
_OUTCOMES: dict[Kind, tuple[int, int]] = {
    "false negative": (1, 0), "false positive": (0, 1), "certain fake": (1, 1),
    "certain real": (0, 0),
}  # fmt: skip


@dataclass(frozen=True)
class ExplainedCase:
    """A scored picture with its heat map.

    Attributes:
        path: Relative to the image folder, with `/`.
        kind: A false negative, a false positive, or one of the most certain right verdicts.
        class_name: Its class folder.
        source: What it was cut from.
        fake_probability: In [0, 1].
        heat: float32, [crop, crop], in [0, 1]: how much each pixel that the network saw
            contributed to the verdict, relative to the strongest; None where `problem` says why.
        box: Left, top, right and bottom of what the network saw, as shares of the upright
            picture's width and height.
        problem: Why there is no heat map; empty if there is one.
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
    """The pictures of one kind, those with the most confident verdict first.

    Args:
        scored: A row for each scored image: path, label, logit, fake_probability, predicted.
        kind: A kind of error or of right verdicts.
    """
    label, called = _OUTCOMES[kind]
    rows = scored[(scored["label"] == label) & (scored["predicted"] == called)]
    return rows.sort_values(
        # probabilities may tie where logits do not
        ["fake_probability", "logit", "path"],
        ascending=[called == 0, called == 0, True],
    )
