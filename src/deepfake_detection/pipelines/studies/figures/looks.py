"""The look of a line among others: colour, dashes and marker all differ."""

from dataclasses import dataclass
from typing import Any

from deepfake_detection.reports.style import COLOURS

# From Tol's muted palette and ColorBrewer's Dark2: none of them is a subset's.
_COLOURS = ("#7570B3", "#A6611A", "#44AA99", "#CC6677", "#AA4499", "#999933")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Look:
    """How a line is drawn."""

    colour: str
    dashes: Any
    marker: str


def look_of(label: str, labels: list[str]) -> Look:
    """The look of one of these labels; a thing that has a colour of its own keeps it.

    Args:
        label: One of `labels`.
        labels: All that are drawn together.
    """
    place = labels.index(label)
    colour = COLOURS.get(label, _COLOURS[place % len(_COLOURS)])
    return Look(colour, _DASHES[place % len(_DASHES)], _MARKERS[place % len(_MARKERS)])
