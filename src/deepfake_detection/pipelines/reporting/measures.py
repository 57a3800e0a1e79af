"""What false cases have in common, measured: a table for the page, and what it says."""

from dataclasses import dataclass

import pandas as pd

from deepfake_detection.reports.words import counted

TOO_FEW = "too few"


@dataclass(frozen=True)
class MeasureRow:
    """False cases of one kind against right ones of the same class, by one measure of one region.

    All in words; `differs` is yes, no, or why that cannot be said.
    """

    kind: str
    region: str
    measure: str
    false_median: str
    right_median: str
    counts: str
    effect: str
    interval: str
    differs: str


def tabulate_measures(false_case_measures: pd.DataFrame) -> tuple[MeasureRow, ...]:
    """The measures of false cases, ready to be read.

    Args:
        false_case_measures: kind, region, measure, false_median, right_median, effect, low, high,
            n_false, n_right, differs.
    """
    return tuple(
        MeasureRow(
            kind=str(row["kind"]),
            region=str(row["region"]),
            measure=str(row["measure"]),
            false_median=_number(row["false_median"]),
            right_median=_number(row["right_median"]),
            counts=f"{row['n_false']:,.0f} against {row['n_right']:,.0f}",
            effect=_number(row["effect"]),
            interval=_interval(row["low"], row["high"]),
            differs=_verdict(row["differs"]),
        )
        for _, row in false_case_measures.iterrows()
    )


def say_differences(rows: tuple[MeasureRow, ...]) -> str:
    """How many of the comparisons differ, and which, in a sentence."""
    differing = [f"{row.measure} of {row.region} ({row.kind}s)" for row in rows if _yes(row)]
    possible = [row for row in rows if row.differs != TOO_FEW]
    if not possible:
        return "There are too few false cases, or they come from too few groups, to be compared."
    compared = counted(len(possible), "comparison")
    if not differing:
        return f"None of {compared} shows a difference that chance does not explain."
    return (
        f"{len(differing):,} of {compared} {'shows' if len(differing) == 1 else 'show'} a "
        f"difference that chance alone hardly makes: {', '.join(differing)}."
    )


def list_notes(false_case_measures: pd.DataFrame) -> list[str]:
    """What has to be known of the comparisons, each note once.

    Args:
        false_case_measures: note: what is to be known of a row, parts between semicolons.
    """
    notes = false_case_measures["note"].dropna().astype(str)
    return list(dict.fromkeys(part for note in notes for part in note.split("; ") if part))


def _yes(row: MeasureRow) -> bool:
    return row.differs == "yes"


def _verdict(differs: object) -> str:
    # a table that was written as text and read again may hold booleans
    return {"True": "yes", "False": "no"}.get(str(differs), str(differs))


def _number(value: float) -> str:
    return "\N{EN DASH}" if pd.isna(value) else f"{value:,.3g}"


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f"{_number(low)} to {_number(high)}"
