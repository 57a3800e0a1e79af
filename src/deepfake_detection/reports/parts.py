"""Small parts that pages show."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Card:
    """One headline figure: its name, its value in words, and what stands small beneath it."""

    name: str
    value: str
    beneath: tuple[str, ...]
    thing: str = ""


@dataclass(frozen=True)
class Statement:
    """Something the reader has to know before trusting a score; a `warning` takes trust away."""

    tone: Literal["warning", "plain"]
    heading: str
    text: str
