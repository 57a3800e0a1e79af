"""Findings on made-up tables: one of each kind, and none where nothing is shown."""

import json

import numpy as np
import pandas as pd
import pytest
from explanation_samples import EVALUATION
from reporting_samples import (
    RUN,
    SPLIT,
    audit_files,
    audit_leaks,
    compare_measures,
    distort,
    predict,
)

from deepfake_detection.pipelines.reporting.findings import find_findings

GROUPS, OF_EACH = 24, 5


def score(wrong=(), kinds=("swap",), own_group=False):
    """Five real images and five fakes of each kind in each group; `wrong` are (class, group)."""
    rows = [
        (f"{name}/{OF_EACH * group + i}.png", int(name != "real"),
         (2.0 if name != "real" else -2.0) * (-1 if (name, group) in wrong else 1))
        for name in ("real", *kinds) for group in range(GROUPS) for i in range(OF_EACH)
    ]  # fmt: skip
    scored = predict("test", rows)
    group = scored["path"].str.extract(r"(\d+)\.png")[0].astype(int) // OF_EACH
    return scored.assign(group=scored["path"] if own_group else group.astype(str))


# fmt: off
def find(predictions=None, *, leaks=None, split=None, issues=None, robustness=None, measures=None,
         files=None):
    predictions = score() if predictions is None else predictions
    found = find_findings(
        description={"run_fingerprint": RUN, "split": {"medium": None}},
        split_summary={"fingerprint": SPLIT, "groups_in_more_than_one_subset": 0} | (split or {}),
        leakage_summary=leaks or audit_leaks(),
        shortcut_summary=files or audit_files(),
        predictions=predictions,
        label_issues=predictions.head(0).assign(label_probability=0.0, source_label_probability=0.0)
        if issues is None else issues,
        robustness_table=distort().head(0) if robustness is None else robustness,
        false_case_measures=compare_measures().head(0) if measures is None else measures,
        evaluation=EVALUATION,
    )  # fmt: skip
    # it is an entry of the catalog
    assert json.loads(json.dumps(found)) == found
    return {each["kind"]: each for each in found["findings"]}
# fmt: on


def lower(strength, real, fake, corrected_high=-0.1):
    """A table of robustness in which one distortion lowers both recalls to these."""
    rows = [
        {
            "run_fingerprint": RUN, "subset": "test", "distortion": distortion,
            "strength_name": name, "metric": "recall", "class_name": class_name, "value": value,
            "difference": change, "corrected_high": high,
        }
        for distortion, name, values in (
            ("none", "undistorted", (0.8, 0.9)), ("jpeg", "JPEG quality 90", (0.79, 0.9)),
            ("brightness", strength, (real, fake)),
        )
        for class_name, value, change, high in zip(
            ("real", "fake"), values, (values[0] - 0.8, values[1] - 0.9),
            (corrected_high if name == strength else 0.05, 0.1), strict=True,
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_detector_without_a_weakness_that_the_tables_show_has_no_finding():
    assert find() == {}
    assert find(score().head(0)) == {}


def test_copies_in_training_come_first_whatever_else_there_is():
    places = {"train and test": {"pairs": 9, "images": 3}}
    leaks = audit_leaks({"near-duplicate": places})
    found = find(leaks=leaks, robustness=lower("brightness × 0.5", 0.0, 1.0))
    assert list(found) == ["leak", "distortion"]
    assert found["leak"]["number"] == "3 copies"
    assert found["leak"]["section"] == "data"
    # copies that are not in training, and an audit of another split, say nothing of the score
    elsewhere = audit_leaks({"near-duplicate": {"validation and test": places["train and test"]}})
    assert find(leaks=elsewhere) == {}
    assert find(leaks=leaks | {"split_fingerprint": "0" * 64}) == {}
    assert find(split={"groups_in_more_than_one_subset": 7})["leak"]["number"] == "7 groups"


def test_the_distortion_that_costs_most_is_told_with_both_recalls():
    found = find(robustness=lower("brightness × 0.5", 0.02, 1.0))["distortion"]
    assert found["number"].endswith(": specificity 80 % → 2 %")
    for told in ("rightness × 0.5", "80 %", "2 %", "90 %", "100 %", "2 distortions"):
        assert told in found["text"]
    assert found["weight"] == pytest.approx((0.78 - 0.1) / 2)
    # not where the interval, corrected for all of them, holds no change
    assert find(robustness=lower("brightness × 0.5", 0.7, 0.9, corrected_high=0.01)) == {}
    # nor where the other class gains as much as one loses
    assert find(robustness=lower("brightness × 0.5", 0.7, 1.0)) == {}
    # nor of another run, nor of a table of an older version
    assert find(robustness=lower("x", 0.0, 1.0).assign(run_fingerprint="other")) == {}
    assert find(robustness=lower("x", 0.0, 1.0).drop(columns="corrected_high")) == {}


def test_errors_of_one_group_are_told_with_its_name():
    found = find(score([("swap", 7)]))["errors by group"]
    assert found["number"].startswith("5 of 5 false negatives in 1 ")
    for told in ("All 5 false negatives", f"1 of {GROUPS} groups", "(7)"):
        assert told in found["text"]
    assert found["section"] == "errors"
    both = find(score([("swap", 7), ("real", 2), ("real", 3)]))["errors by group"]
    assert both["number"].startswith("10 of 10 false positives in 2 ")
    assert "All 10 false positives are of 2" in both["text"]
    # errors everywhere are of no group
    scored = score()
    every_fifth = np.arange(len(scored)) % OF_EACH == 0
    spread = scored.assign(predicted=np.where(every_fifth, 1 - scored["label"], scored["label"]))
    assert "errors by group" not in find(spread)


def test_images_that_are_groups_of_their_own_have_no_group_of_errors():
    assert "errors by group" not in find(score([("swap", 7)], own_group=True))


def test_the_weakest_kind_of_fake_is_told_where_the_others_are_found_more_often():
    few = [("swap", group) for group in range(0, GROUPS, 2)]
    found = find(score(few, kinds=("swap", "reenactment")))["kind of fake"]
    assert found["number"] == "recall 50 %"
    assert "swap" in found["text"]
    assert "100 %" in found["text"]
    # one kind alone has no other, and one more error says nothing
    assert "kind of fake" not in find(score(few))
    assert "kind of fake" not in find(score([("swap", 3)], kinds=("swap", "reenactment")))


def test_a_trait_is_told_where_its_corrected_interval_says_so():
    table = compare_measures().assign(effect=0.3)
    found = find(measures=table)["trait"]
    assert found["number"] == "70 % of pairs"
    for told in ("less sharpness", "eyes", "false negative"):
        assert told in found["text"]
    assert "more" in find(measures=table.assign(effect=0.8))["trait"]["text"]
    for nothing in ("no", "too few"):
        assert find(measures=table.assign(differs=nothing)) == {}


def test_labels_are_told_where_the_whole_source_is_improbable():
    issues = score().head(5).assign(label_probability=0.001, source_label_probability=0.001)
    found = find(issues=issues)["labels"]
    assert found["number"].startswith("5 labels")
    assert issues["source"].iloc[0] in found["text"]
    assert find(issues=issues.assign(source_label_probability=0.6)) == {}


def test_calibration_is_told_where_the_interval_of_a_bin_leaves_out_its_scores():
    scored = score([("real", group) for group in range(0, GROUPS, 2)])
    sure = scored.assign(fake_probability=np.where(scored["predicted"] == 1, 0.99, 0.01))
    found = find(sure)["calibration"]
    assert found["number"] == "scores 0.99 → 0.67"
    assert "high" in found["text"]
    # probabilities that are the shares of fakes
    right = scored.assign(fake_probability=np.where(scored["predicted"] == 1, 0.667, 0.0))
    assert "calibration" not in find(right)


def test_a_property_of_files_that_warns_is_told_with_its_area():
    (found,) = find(files=audit_files(["quality: AUC 0.90 (0.80 to 1.00)"], 0.9)).values()
    assert found["kind"] == "shortcut"
    assert "0.90" in found["number"]
    assert "data_preparation.equalise" in found["advice"]
    assert 0.5 < found["weight"] < 1
    assert find() == {}
