"""From a study's tables and histories to what its figures and its page are made of."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.pipelines.studies.tables import say_split, settings_of


def collect_results(
    study: StudyParameters,
    table: pd.DataFrame,
    summary: pd.DataFrame,
    inflation: pd.DataFrame | None,
    choice: Mapping[str, Any],
    histories: Mapping[str, pd.DataFrame],
    split_summaries: Mapping[str, Mapping[str, Any]],
) -> StudyResults:
    """Put together what a study found.

    Args:
        study: The study.
        table: Its runs, perhaps read from a file, in which empty text is missing.
        summary: Its rows over seeds and folds.
        inflation: What the split method changes; None where no rows differ in it alone.
        choice: The chosen row.
        histories: Of each run.
        split_summaries: Of each split.
    """
    text = {
        str(column): ""
        for column in table
        if column == "verdict" or str(column).startswith("axis.")
    }
    noted = [study.note, *(split["note"] for split in split_summaries.values())]
    settings = [settings_of(run) for run in study.runs.values()]
    return StudyResults(
        name=study.name,
        heading=study.heading,
        notes=tuple(dict.fromkeys(note for note in noted if note)),
        split_in_words=say_split(study),
        table=table.fillna(text).astype(dict.fromkeys(text, str)),
        summary=summary,
        inflation=pd.DataFrame() if inflation is None else inflation,
        choice=choice,
        histories=histories,
        axes=study.axes,
        overfit_above=study.overfit_above,
        settings=_shared(settings),
    )


def _shared(settings: list[dict[str, Any]]) -> dict[str, Any]:
    """What all have in common, block by block."""
    first, *others = settings
    shared = {}
    for name, value in first.items():
        theirs = [each.get(name) for each in others]
        if isinstance(value, dict) and all(isinstance(each, dict) for each in theirs):
            shared[name] = _shared([value, *(each for each in theirs if each is not None)])
        elif all(each == value for each in theirs):
            shared[name] = value
    return shared
