"""Detectors that are tables: the scores that any program gave to pictures, in a CSV file."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.models.other_programs import (
    FunctionDetector,
    Gives,
    check_scores,
    make_card,
)

# By the name of the column
_GIVES: dict[str, Gives] = {
    "probability": "probability",
    "fake_probability": "probability",
    "logit": "logit",
    "score": "score",
}


def load_score_table(path: Path) -> FunctionDetector:
    """A detector of a CSV file with the columns `path` and one of those below.

    - probability, or fake_probability: of fake, in [0, 1];
    - logit: its log odds;
    - score: of no known scale, higher for fakes.

    A path is that relative to the image folder, or ends in it; or the file's name, where no other
    has the same.

    Raises:
        UserError: If a column, a path or a number is missing, or a path is given twice.
    """
    try:
        content = path.read_bytes()
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a CSV file ({first_line(error)})") from None
    columns = [name for name in _GIVES if name in table]
    if "path" not in table or len(columns) != 1:
        raise UserError(
            f"{path} needs the columns path and one of {', '.join(_GIVES)}; it has "
            f"{', '.join(map(str, table.columns))}"
        )
    column = columns[0]
    names = table["path"].str.replace("\\", "/", regex=False)
    if (names == "").any():
        raise UserError(f"{path}: row {_row(names == '')} has no path")
    if names.duplicated().any():
        raise UserError(
            f"{path}: {names[names.duplicated()].iloc[0]} is there twice (row "
            f"{_row(names.duplicated())})"
        )
    numbers = pd.to_numeric(table[column], errors="coerce")
    if numbers.isna().any():
        found = table.loc[numbers.isna(), column].iloc[0]
        raise UserError(f"{path}: row {_row(numbers.isna())}: {column} is {found!r}, not a number")
    card = make_card("scores", str(path), hashlib.sha256(content).hexdigest(), _GIVES[column])
    checked = check_scores(numbers, list(names), str(path), card)
    scores = dict(zip(names, checked.tolist(), strict=True))
    return FunctionDetector.of(card, _Lookup(path, scores), "names")


def _row(wrong: pd.Series) -> int:
    """The first that is wrong, as an editor counts: the header is row 1."""
    return int(wrong.to_numpy().argmax()) + 2


class _Lookup:
    """Scores by path; a UserError names a picture without one."""

    def __init__(self, table: Path, scores: dict[str, float]) -> None:
        self._table, self._scores = table, scores
        # by each part that a longer path ends in; None where several do
        self._by_end: dict[str, float | None] = {}
        for path, score in scores.items():
            parts = PurePosixPath(path).parts
            for at in range(1, len(parts)):
                end = "/".join(parts[at:])
                self._by_end[end] = None if end in self._by_end else score

    def __call__(self, names: list[Any]) -> list[float]:
        return [self._find(name) for name in names]

    def _find(self, name: str) -> float:
        if (found := self._scores.get(name, self._by_end.get(name))) is not None:
            return found
        alone = self._scores.get(PurePosixPath(name).name)
        if alone is None:
            raise UserError(
                f"{self._table} has no score of {name}, or several: its column path should hold "
                "the paths relative to the image folder"
            )
        return alone
