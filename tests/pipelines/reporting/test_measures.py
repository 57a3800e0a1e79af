import numpy as np
from reporting_samples import compare_measures

from deepfake_detection.pipelines.reporting.measures import (
    list_notes,
    say_differences,
    tabulate_measures,
)


def test_too_few_cases_have_no_figures():
    table = compare_measures().assign(differs="too few")
    table[["effect", "low", "high", "false_median"]] = np.nan
    row = tabulate_measures(table)[0]
    assert (row.effect, row.interval, row.false_median) == ("–", "", "–")
    assert row.differs == "too few"
    assert "too few false cases" in say_differences(tabulate_measures(table))
    table.loc[:8, "differs"] = "no"
    assert say_differences(tabulate_measures(table)).startswith("None of 9 comparisons")


def test_each_note_stands_once():
    table = compare_measures().assign(note="a; b")
    table.loc[3:, "note"] = "b; c"
    table.loc[5, "note"] = None
    assert list_notes(table) == ["a", "b", "c"]


def test_several_differences_are_listed_and_booleans_are_read():
    table = compare_measures()
    table["differs"] = [True, True, *[False] * 16]
    assert say_differences(tabulate_measures(table)) == (
        "2 of 18 comparisons show a difference that chance alone hardly makes: sharpness of whole "
        "(false negatives), brightness of whole (false negatives)."
    )
