"""Detectors that are tables: the scores that any program gave to pictures, in a CSV file."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

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

    A path is that relative to the image folder, or ends in it; or the file's name, where no two
    pictures have the same.

    Raises:
        UserError: If a column, a path or a number is missing, or a path is given twice.
    """
    try:
        content = path.read_bytes()
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True,
            index_col=False,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a CSV file ({first_line(error)})") from None
    columns = [name for name in _GIVES if name in table]
    if "path" not in table or len(columns) != 1:
        raise UserError(
            f"{path} needs the columns path and one of {', '.join(_GIVES)}, with commas between "
            f"them; it has {' and '.join(map(repr, table.columns))}"
        )
    column = columns[0]
    names = table["path"].str.replace("\\", "/", regex=False).str.removeprefix("./")
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
    """Scores by image folder and path; a UserError names a picture without one of its own."""

    def __init__(self, table: Path, scores: dict[str, float]) -> None:
        self._table, self._scores = table, scores
        # rows by each part that a longer path ends in; None where several do
        self._by_end: dict[str, str | None] = {}
        for row in scores:
            parts = PurePosixPath(row).parts
            for at in range(1, len(parts)):
                end = "/".join(parts[at:])
                self._by_end[end] = None if end in self._by_end else row
        # the picture that each row was taken for
        self._taken: dict[str, tuple[Path, str]] = {}

    def __call__(self, pictures: list[tuple[Path, str]]) -> list[float]:
        return [self._scores[self._find(folder, name)] for folder, name in pictures]

    def _find(self, folder: Path, name: str) -> str:
        alone = PurePosixPath(name).name
        rows = (str(folder / name), name, self._by_end.get(name), alone)
        for row in rows:
            # the score of a file that is there is not that of another one
            if row not in self._scores or _is_other_file(row, folder / name):
                continue
            if self._taken.setdefault(row, (folder, name)) == (folder, name):
                return row
            raise UserError(
                f"{self._table}: the score of {row} would be that of {name} and of "
                f"{self._taken[row][1]}: its column path should hold longer paths; a table is for "
                "one set"
            )
        raise UserError(
            f"{self._table} has no score of {name}, or several: its column path should hold "
            "the paths relative to the image folder"
        )


def _is_other_file(row: str, path: Path) -> bool:
    return Path(row).is_absolute() and Path(row).exists() and not path.samefile(row)
