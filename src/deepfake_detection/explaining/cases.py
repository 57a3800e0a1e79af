"""A scored picture, and where in it the reasons for its verdict lie."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["missed fake", "false alarm", "certain fake", "certain real"]


@dataclass(frozen=True)
class ExplainedCase:
    """A scored picture with its heat map.

    Attributes:
        path: Relative to the image folder, with `/`.
        kind: A missed fake, a false alarm, or one of the right verdicts that were most certain.
        class_name: Its class folder.
        source: What it was cut from.
        fake_probability: In [0, 1].
        heat: float32, [crop, crop], in [0, 1]: how much each pixel that the network saw spoke for
            the verdict, relative to the one that spoke most; None where `problem` says why.
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
