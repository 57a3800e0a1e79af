import numpy as np
from reporting_samples import compare_measures

from deepfake_detection.pipelines.reporting.measures import say_differences, tabulate_measures


def test_too_few_cases_have_no_figures():
    table = compare_measures().assign(differs="too few")
    table[["effect", "low", "high", "false_median"]] = np.nan
    row = tabulate_measures(table)[0]
    assert (row.effect, row.interval, row.false_median) == ("–", "", "–")
    assert row.differs == "too few"
    assert say_differences(tabulate_measures(table)).startswith("None of 18 comparisons")


def test_several_differences_are_listed_and_booleans_are_read():
    table = compare_measures()
    table["differs"] = [True, True, *[False] * 16]
    assert say_differences(tabulate_measures(table)) == (
        "2 of 18 comparisons show a difference that chance alone hardly makes: sharpness of whole "
        "(missed fakes), brightness of whole (missed fakes)."
    )
