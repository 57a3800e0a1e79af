import numpy as np
import pandas as pd
from reporting_samples import distort

from deepfake_detection.pipelines.reporting.robustness import say_weakest, tabulate_robustness


def test_table_starts_undistorted_and_has_accuracy_and_area_first():
    shuffled = distort(0.9).sort_values(["metric", "distortion"], ascending=False)
    table = tabulate_robustness(shuffled)
    assert table.columns == (("test", "Accuracy"), ("test", "ROC AUC"), ("test", "Recall, fake"))
    names = [row.name for row in table.rows]
    assert names[0] == "undistorted"
    assert len(set(names)) == len(names) == 6
    (undistorted, *_) = table.rows
    assert undistorted.cells[0].value == "0.9000"
    assert undistorted.cells[0].beneath == "0.850 to 0.950 · n 60"


def test_what_was_not_measured_is_left_empty_and_what_is_undefined_is_said():
    table = distort()
    blurred = (table["distortion"] == "blur") & (table["strength"] == 2)
    without = table[~(blurred & (table["metric"] == "accuracy"))].copy()
    without.loc[blurred & (without["metric"] == "roc_auc"), ["value", "low", "high"]] = np.nan
    last = tabulate_robustness(without).rows[-1]
    assert last.cells[0] is None
    assert last.cells[1].value == "undefined"


def test_columns_of_test_stand_before_those_of_validation():
    both = pd.concat([distort(subset="validation"), distort(subset="test")])
    subsets = [subset for subset, _ in tabulate_robustness(both).columns]
    assert subsets == ["test"] * 3 + ["validation"] * 3


def test_strength_without_a_number_in_its_name_gets_one():
    table = distort().assign(strength_name="quality")
    assert tabulate_robustness(table).rows[1].name == "jpeg (quality 90)"


def test_sentence_names_what_costs_the_most_accuracy():
    table = distort(0.8)
    strong = (table["strength_name"] == "JPEG quality 50") & (table["metric"] == "accuracy")
    table.loc[strong, "value"] = 0.25
    assert say_weakest(table) == (
        "Of 5 distortions that were tried, JPEG quality 50 costs the most: accuracy falls from "
        "80.0 % to 25.0 %."
    )


def test_sentence_where_nothing_costs_accuracy_or_nothing_was_measured():
    table = distort(0.8)
    table["value"] = 0.8
    assert say_weakest(table) == (
        "None of the 5 distortions that were tried costs accuracy (80.0 % undistorted)."
    )
    assert say_weakest(table[table["distortion"] == "none"]) == ""
    assert say_weakest(table.head(0)) == ""
