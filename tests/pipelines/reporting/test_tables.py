import numpy as np
import pandas as pd
import pytest
from reporting_samples import compare_measures, distort, measure, predict_at_random

from deepfake_detection.pipelines.reporting.tables import (
    count_images,
    list_notes,
    say_differences,
    tabulate_kinds,
    tabulate_metrics,
    tabulate_robustness,
)
from deepfake_detection.reports.parts import Cell
from deepfake_detection.reports.words import name_levels


def test_metrics_have_a_column_for_each_subset_and_level_and_each_note_once():
    both = pd.concat([predict_at_random("validation", 30), predict_at_random("test", 30)])
    metrics = measure(both)
    accuracy = (metrics["metric"] == "accuracy") & (metrics["level"] == "image")
    metrics.loc[accuracy, ["value", "low", "high"]] = [0.875, 0.8123, 0.9345]
    table, notes = tabulate_metrics(metrics, name_levels(None))
    # validation's own note stands at its head, since each cell there has one
    assert table.head == [
        "Metric", Cell("test", "by image", thing="test"), Cell("test", "by source", thing="test"),
        Cell("validation", "by image", note=2, thing="validation"),
        Cell("validation", "by source", note=2, thing="validation"),
    ]  # fmt: skip
    rows = {row[0]: row[1:] for row in table.rows}
    assert notes == ["one class", "validation also chose the epoch"]
    assert rows["Accuracy"][0] == Cell("0.88", "0.81 to 0.93 · n 30")
    assert rows["ROC AUC"][0] == Cell("undefined", "n 30", note=1)
    assert [rows[name][2].note for name in ("Accuracy", "ROC AUC")] == [0, 1]
    assert "." not in rows["False negatives"][0].value
    assert "Recall of kind, fake_face2face" in rows
    # a note of all metrics stands at the head of the column
    metrics = measure(predict_at_random("test", 30)).assign(note="seen in training")
    table, notes = tabulate_metrics(metrics, name_levels(None))
    assert notes == ["seen in training"]
    assert [cell.note for cell in table.head[1:]] == [1, 1]
    assert not any(cell.note for row in table.rows for cell in row[1:] if cell)


def test_each_kind_of_fake_of_the_headline_subset_has_a_row_and_their_mean_the_last():
    rows = [
        ("mean_recall_of_kinds", None, 0.7), ("recall_of_kind", "b", 0.6),
        ("recall_of_kind", "a", 0.8), ("roc_auc_of_kind", "b", np.nan),
        ("roc_auc_of_kind", "a", 0.9),
        ("mean_roc_auc_of_kinds", None, np.nan), ("roc_auc", None, 0.5), ("recall", "fake", 0.5),
    ]  # fmt: skip
    metrics = pd.DataFrame(rows, columns=["metric", "class_name", "value"]).assign(n=9)
    both = [
        metrics.assign(subset=subset, level=level)
        for subset in ("validation", "test") for level in ("image", "source")
    ]  # fmt: skip
    table = tabulate_kinds(pd.concat(both), name_levels("video"))
    heads = [(cell.value, cell.beneath, cell.thing) for cell in table.head[1:]]
    assert heads == [
        (name, level, "test")
        for level in ("by frame", "by video")
        for name in ("Recall", "ROC AUC")
    ]  # fmt: skip
    shown = [[row[0], *(cell.value for cell in row[1:])] for row in table.rows]
    assert shown == [
        ["b", *["0.60", "undefined"] * 2], ["a", *["0.80", "0.90"] * 2],
        ["mean of all kinds", *["0.70", "undefined"] * 2],
    ]  # fmt: skip
    assert not tabulate_kinds(
        metrics.assign(subset="test", level="image").head(0), name_levels(None)
    ).rows


def test_images_are_counted_by_subset_from_train_to_test():
    images = {"test": {"a": 1}, "validation": {"a": 0}, "train": {"a": 3, "b": 4}}
    assert count_images({"images": images}) == {
        "train": {"a": 3, "b": 4}, "test": {"a": 1, "b": 0},
    }  # fmt: skip


def test_robustness_starts_undistorted_with_accuracy_and_area_first_and_test_before_validation():
    shuffled = distort(0.9).sort_values(["metric", "distortion"], ascending=False)
    table = tabulate_robustness(pd.concat([shuffled.assign(subset="validation"), shuffled]))
    names = ["Accuracy", "ROC AUC", "Recall, fake", "Recall, real"]
    assert [cell.value for cell in table.head[1:]] == names * 2
    assert [cell.beneath for cell in table.head[1:]] == ["test"] * 4 + ["validation"] * 4
    headers = [row[0] for row in table.rows]
    assert (headers[0], len(set(headers)), len(headers)) == ("undistorted", 6, 6)
    assert table.rows[0][1] == Cell("0.90", "0.85 to 0.95 · n 60")


def test_what_was_not_measured_is_empty_and_what_is_undefined_is_named():
    table = distort().assign(strength_name="quality")
    strongest = (table["distortion"] == "blur") & (table["strength"] == 2)
    without = table[~(strongest & (table["metric"] == "accuracy"))].copy()
    without.loc[strongest & (without["metric"] == "roc_auc"), ["value", "low", "high"]] = np.nan
    header, accuracy, area, *_ = tabulate_robustness(without).rows[-1]
    # a name without a number gets one
    assert header == "blur (quality 2)"
    assert accuracy == ""
    assert area.value == "undefined"


@pytest.mark.parametrize(("differing", "compared"), [(0, 9), (1, 18), (2, 18)])
def test_differences_are_counted_and_named(differing, compared):
    table = compare_measures().assign(differs="no").head(compared)
    table.loc[: differing - 1, "differs"] = "yes"
    words = say_differences(table)
    assert f"{compared} comparisons" in words
    assert words.count("(false negatives)") == differing


def test_too_few_errors_are_not_compared_and_each_note_is_listed_once():
    table = compare_measures().assign(note="a; b")
    assert "comparison" not in say_differences(table.head(0))
    table.loc[3:, "note"] = "b; c"
    table.loc[5, "note"] = None
    assert list_notes(table) == ["a", "b", "c"]


@pytest.mark.parametrize(("width", "shown"), [(0.2, "0.99"), (0.01, "0.988"), (0.001, "0.9877")])
def test_a_value_has_no_more_decimals_than_its_interval_allows(width, shown):
    row = {"metric": "roc_auc", "subset": "test", "level": "image", "class_name": None, "n": 9}
    ends = {"value": 0.98765, "low": 0.98765 - width / 2, "high": 0.98765 + width / 2}
    table, _ = tabulate_metrics(pd.DataFrame([row | ends | {"note": None}]), name_levels(None))
    assert table.rows[0][1].value == shown
