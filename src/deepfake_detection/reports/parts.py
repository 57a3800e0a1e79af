"""Parts of a page that templates/parts.html.j2 renders: cards, statements, tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Card:
    """One headline figure: its name, its value in words, and small lines beneath it."""

    name: str
    value: str
    beneath: tuple[str, ...]
    thing: str = ""  # the card has its colour


@dataclass(frozen=True)
class Statement:
    """What the reader must know before trusting a score; a `warning` lowers that trust."""

    tone: Literal["warning", "plain"]
    heading: str
    text: str
    section: str = "trust"  # of the page, where it stands


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its value, and what stands around it."""

    value: str
    beneath: str = ""  # a small second line
    note: int = 0  # number of a footnote; 0 for none
    thing: str = ""  # a dot in its colour stands before the value


@dataclass(frozen=True)
class Table:
    """A table whose first column holds the rows' headers.

    Styles are CSS classes: `numbers` right-aligns all but the first column; `metrics`, `study`.
    """

    name: str
    head: Sequence[Cell | str]
    rows: Sequence[Sequence[Cell | str]]
    style: str = "numbers"
