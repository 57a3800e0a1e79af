"""What a study found: the tables that its figures and its page are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class StudyResults:
    """A study's runs, side by side.

    Scores are by image, on the headline subset of their run. A value that is undefined is NaN.

    Attributes:
        name: The study's, as in its parameters: "fine_tuning".
        heading: One sentence: what it compares.
        notes: What has to be known of the images, and of what stands in for what, first.
        split_in_words: "individual split, 80 : 20, seed 0", or "4 splits".
        table: A row for each run: run, row (of the study's table, which several runs may repeat
            with other seeds or folds), title, an `axis.NAME` for each axis of a grid, seed, fold,
            model; every setting in which runs differ, by its dotted name; split_method,
            split_ratios, split_seed; subset, accuracy, accuracy_low, accuracy_high, roc_auc,
            roc_auc_low, roc_auc_high; best_epoch, epochs, best_validation_accuracy,
            train_accuracy (at the best epoch), accuracy_gap (train minus validation),
            roughness (mean absolute change of validation accuracy between epochs), both over the
            second half of the epochs, fall_after_best (best minus last validation accuracy);
            published_best_epoch, published_validation_accuracy (the reference recipe's own);
            verdict ("chosen", "overfit" or ""); seconds, device, run_fingerprint,
            split_fingerprint.
        summary: A row for each row of the study and metric: row, title, metric, subset, runs,
            mean, standard_deviation, lowest, highest, and for out-of-fold predictions pooled,
            pooled_low, pooled_high.
        inflation: A row for each pair of rows that differ in the split method alone: title,
            metric, subset, individual, group, inflation, standard_deviation (from training over
            several seeds), runs.
        choice: rule, chosen (a row or None), title, reason, ruled_out (titles).
        histories: Each run's training history.
        axes: The labels of each axis of a grid, in order; empty where there is no grid.
        overfit_above: The validation accuracy above which a run counts as overfit.
        settings: All settings that the runs have in common.
    """

    name: str
    heading: str
    notes: tuple[str, ...]
    split_in_words: str
    table: pd.DataFrame
    summary: pd.DataFrame
    inflation: pd.DataFrame
    choice: Mapping[str, Any]
    histories: Mapping[str, pd.DataFrame]
    axes: Mapping[str, list[str]]
    overfit_above: float | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take pandas' own kinds of numbers for NumPy's, whose missing value is NaN."""
        for name in ("table", "summary", "inflation"):
            object.__setattr__(self, name, _with_plain_numbers(getattr(self, name)))
        histories = {run: _with_plain_numbers(each) for run, each in self.histories.items()}
        object.__setattr__(self, "histories", histories)

    def rows(self) -> list[tuple[str, pd.DataFrame]]:
        """Each row of the study with the runs that repeat it, in the table's order."""
        return [(str(row), runs) for row, runs in self.table.groupby("row", sort=False)]

    def is_repeated(self) -> bool:
        """Whether any row has several runs."""
        return bool(self.table["row"].duplicated().any())


def _with_plain_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    plain = {}
    for name, column in frame.items():
        if pd.api.types.is_extension_array_dtype(column) and pd.api.types.is_numeric_dtype(column):
            plain[str(name)] = column.astype(float) if column.hasnans else column.to_numpy()
    return frame.assign(**plain) if plain else frame


def pooled_accuracy(results: StudyResults, row: str) -> pd.Series | None:
    """The summary of a row's accuracy over all folds together; None where there are no folds."""
    summary = results.summary
    found = summary[
        (summary["row"] == row) & (summary["metric"] == "accuracy") & summary["pooled"].notna()
    ]
    return None if found.empty else found.iloc[0]
