import pytest
from reporting_samples import (
    SPLIT,
    audit_files,
    audit_leaks,
    predict_at_random,
    report_inputs,
    score_copies,
)

from deepfake_detection.pipelines.reporting.trust import weigh_leaks, weigh_trust
from deepfake_detection.reports.words import name_levels

HERE = {"fingerprint": SPLIT}
FOUND = {
    "exact duplicate": {"train and test": {"pairs": 4, "images": 1}},
    "label conflict": {"train and train": {"pairs": 1, "images": 2}},
    "near-duplicate": {
        "train and test": {"pairs": 5000, "images": 1200},
        "validation and test": {"pairs": 9, "images": 3},
    },
}
CROSS_CLASS = {"cross-class near-duplicate": {"train and validation": {"pairs": 2, "images": 2}}}


def test_nothing_found_is_no_warning_and_names_what_was_searched():
    statement = weigh_leaks(audit_leaks(), HERE)
    assert statement.tone == "plain"
    for searched in ("900 images", "8 bits", "0.97"):
        assert searched in statement.text
    # one paragraph, without escapes of the template's own line breaks
    assert not {"\\", "\n"} & set(statement.text)
    audit = audit_leaks()
    audit["compared"]["candidate_pairs_left_out"] = 1
    assert "1 pair " in weigh_leaks(audit, HERE).text


def test_copies_are_counted_by_kind_and_subset():
    statement = weigh_leaks(audit_leaks(FOUND), HERE)
    assert statement.tone == "warning"
    for counts in (
        "1 image of test in train; ", "2 images within train; ",
        "1,200 images of test in train, 3 images of test in validation.",
    ):  # fmt: skip
        assert counts in statement.text
    across = weigh_leaks(audit_leaks(CROSS_CLASS), HERE)
    assert across.tone == "warning"
    assert across.heading != statement.heading
    assert "2 images of validation in train" in across.text


def test_audit_of_another_split_says_nothing_of_this_one():
    statement = weigh_leaks(audit_leaks(FOUND, split="0" * 64), HERE)
    assert statement.tone == "warning"
    assert "kedro run --pipelines data_preparation" in statement.text
    assert "1 image" not in statement.text


@pytest.mark.parametrize(
    ("subset", "summary", "description", "warned"),
    [
        ("test", {}, {}, []),
        ("external", {}, {}, []),
        ("validation", {}, {}, ["the epoch"]),
        # nothing scored: validation is assumed
        (None, {}, {}, ["the epoch"]),
        ("validation", {}, {"calibration": {"fitted": ["threshold"]}}, ["the threshold"]),
        ("test", {"method": "individual"}, {}, ["0 groups"]),
        ("test", {"groups_in_more_than_one_subset": 17}, {}, ["17 groups"]),
        ("test", {"groups_in_more_than_one_subset": 1}, {}, ["1 group"]),
        ("test", {}, {"split": {"fingerprint": "0" * 64, "method": "individual"}}, ["individual"]),
        ("test", {"shared_source_numbers": {"sources": 9, "split_between_subsets": 4}}, {},
         ["data_preparation.group.rule=same_number"]),
    ],
)  # fmt: skip
def test_only_what_lowers_the_trust_is_a_warning_and_comes_first(
    subset, summary, description, warned, tmp_path
):
    given = report_inputs(tmp_path, predict_at_random(subset or "test", 30 if subset else 0))
    statements = weigh_trust(
        given["predictions"],
        given["description"] | description,
        given["split_summary"] | summary,
        audit_leaks(),
        audit_files(),
        score_copies(),
        name_levels(None),
    )
    tones = [statement.tone for statement in statements]
    assert tones == sorted(tones, reverse=True)
    warnings = [f"{each.heading} {each.text}" for each in statements if each.tone == "warning"]
    assert len(warnings) == len(warned)
    assert all(each in warning for each, warning in zip(warned, warnings, strict=True))


def test_a_kind_of_fake_that_only_test_holds_is_named(tmp_path):
    given = report_inputs(tmp_path, predict_at_random("test", 30))
    split = given["split_summary"]
    left_out = {"leave_out": {"class": "swapped", "unused_images": {"swapped": 9}}}
    said, without = (
        weigh_trust(
            given["predictions"], given["description"], summary, audit_leaks(), audit_files(),
            score_copies(), name_levels("video"),
        )
        for summary in (split | left_out, split)
    )  # fmt: skip
    (added,) = [each for each in said if each not in without]
    assert "swapped" in added.text
    assert "frames" in added.text


def weigh_files(tmp_path, audit, scores):
    given = report_inputs(tmp_path, predict_at_random("test", 30))
    described = given["predictions"], given["description"], given["split_summary"]
    statements = weigh_trust(*described, audit_leaks(), audit, scores, name_levels(None))
    return next(each for each in statements if "0.61" in each.text)


def test_files_that_tell_the_classes_are_a_warning_with_the_way_out(tmp_path):
    quiet = weigh_files(tmp_path, audit_files(), score_copies())
    assert (quiet.tone, quiet.section) == ("plain", "data")
    # the copies, the difference, the strata
    for told in ("0.93", "0.71", "0.68", "-0.24", "same quality"):
        assert told in quiet.text
    warned = audit_files(["quality: AUC 0.98 (0.90 to 1.00)"], 0.98)
    loud = weigh_files(tmp_path, warned, score_copies(strata=float("nan")))
    assert loud.tone == "warning"
    for told in ("0.98 (0.90 to 1.00)", "data_preparation.equalise", "no stratum"):
        assert told in loud.text
    # of another run, nothing is known
    assert "0.71" not in weigh_files(tmp_path, warned, score_copies().head(0)).text
