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
    thing: str = ""


@dataclass(frozen=True)
class Statement:
    """What the reader must know before trusting a score; a `warning` lowers that trust."""

    tone: Literal["warning", "plain"]
    heading: str
    text: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: What it shows.
        beneath: A small second line.
        note: Number of a footnote; 0 for none.
        thing: What has a dot in its colour before the value.
        tag: A word in a frame after the value.
        style: Extra CSS class: `words` (left-aligned), `path`.
        rows: How many rows it spans, as a row's header.
    """

    value: str
    beneath: str = ""
    note: int = 0
    thing: str = ""
    tag: str = ""
    style: str = ""
    rows: int = 1


@dataclass(frozen=True)
class Table:
    """A table whose first column holds the rows' headers.

    Attributes:
        name: For screen readers, and the caption where `captioned`.
        head: The columns' headers.
        rows: Their cells; a row under a header that spans several begins with None.
        style: CSS classes: `numbers` right-aligns all but the first column; `metrics`, `study`.
        captioned: Whether the name stands above the table.
        tall: Whether a long table scrolls in its own box.
        best: Index of the row to highlight.
    """

    name: str
    head: Sequence[Cell | str]
    rows: Sequence[Sequence[Cell | str | None]]
    style: str = "numbers"
    captioned: bool = False
    tall: bool = False
    best: int | None = None
