"""What the figures and the page of a study are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepfake_detection.parameters import StudyParameters


@dataclass(frozen=True)
class StudyResults:
    """The results of a study.

    Attributes:
        study: The study.
        table: As `tabulate_runs` returns it, with `verdict`: "chosen", "tied", "overfit" or "".
        summary: As `summarise_rows` returns it.
        inflation: As `compare_split_methods` returns it; None where no rows differ in it alone.
        choice: As `choose_row` returns it.
        histories: The training history of each run.
        notes: Remarks on the study and its images, shown first.
    """

    study: StudyParameters
    table: pd.DataFrame
    summary: pd.DataFrame
    inflation: pd.DataFrame | None
    choice: Mapping[str, Any]
    histories: Mapping[str, pd.DataFrame]
    notes: Sequence[str] = ()

    @property
    def rows(self) -> list[tuple[str, str, pd.DataFrame]]:
        """Each row's name and title, and the runs that repeat it, in the table's order."""
        groups = self.table.groupby("row", sort=False)
        return [(str(row), str(runs["title"].iloc[0]), runs) for row, runs in groups]

    @property
    def is_repeated(self) -> bool:
        """Whether any row has several runs."""
        return bool(self.table["row"].duplicated().any())

    @property
    def chosen_runs(self) -> pd.DataFrame:
        """The runs of the chosen row; empty where no row is chosen."""
        return self.table[self.table["row"] == self.choice["chosen"]]

    def accuracy_of_all_folds(self, row: str) -> pd.Series | None:
        """The summary of a row's accuracy in a cross-validation, else None."""
        summary = self.summary
        found = summary[(summary["row"] == row) & (summary["metric"] == "accuracy")]
        return None if found["all_folds"].isna().all() else found.iloc[0]
