from reporting_samples import SPLIT, audit_leaks

from deepfake_detection.pipelines.reporting.leaks import weigh_leaks

HERE = {"fingerprint": SPLIT}


def test_nothing_found_is_no_warning_and_says_what_was_searched():
    statement = weigh_leaks(audit_leaks(), HERE)
    assert statement.tone == "plain"
    assert statement.heading == "No picture was found in two subsets"
    assert "Searched were 900 images" in statement.text
    assert "at most 8 bits apart" in statement.text
    assert "correlate by 0.97 or more" in statement.text


def test_pictures_in_two_subsets_are_counted_by_kind_and_subset():
    found = {
        "exact duplicate": {"train and test": {"pairs": 4, "images": 1}},
        "label conflict": {"train and train": {"pairs": 1, "images": 2}},
        "near-duplicate": {
            "train and test": {"pairs": 5000, "images": 1200},
            "validation and test": {"pairs": 9, "images": 3},
        },
    }
    statement = weigh_leaks(audit_leaks(found), HERE)
    assert statement.tone == "warning"
    assert statement.text.startswith(
        "The same file: 1 image of test in train; the same file under two labels: 2 images within "
        "train; nearly the same picture: 1,200 images of test in train, 3 of test in validation. "
    )


def test_look_alikes_of_another_class_are_said_to_be_so():
    found = {"cross-class near-duplicate": {"train and validation": {"pairs": 2, "images": 2}}}
    statement = weigh_leaks(audit_leaks(found), HERE)
    assert statement.tone == "warning"
    assert statement.heading == "Pictures nearly stand in two subsets, in other classes"
    assert "as a fake and what it was made of: 2 images of validation in train" in statement.text


def test_pairs_that_were_not_compared_are_not_kept_silent():
    audit = audit_leaks()
    audit["compared"]["candidate_pairs_left_out"] = 1
    assert "1 pair with close hashes was too many" in weigh_leaks(audit, HERE).text


def test_audit_of_another_split_says_nothing_of_this_one():
    found = {"exact duplicate": {"train and test": {"pairs": 4, "images": 1}}}
    statement = weigh_leaks(audit_leaks(found, split="0" * 64), HERE)
    assert statement.tone == "warning"
    assert "of another split" in statement.heading
    assert "kedro run --pipelines data_preparation" in statement.text
    assert "1 image" not in statement.text
