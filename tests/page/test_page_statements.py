"""What the page says about a detector."""

import pytest
from detector_samples import VOUCHED_BY, build_detector

from deepfake_detection.page.statements import describe_detector

SPLIT = {
    "method": "group",
    "fingerprint": "ab" * 32,
    "groups_in_more_than_one_subset": 0,
    "images": {
        "train": {"real": 180, "fake_deepfake": 1200, "fake_face2face": 0},
        "validation": {"real": 60, "fake_deepfake": 60},
    },
}
FINAL = {"best_validation_accuracy": None, "split": SPLIT | {"method": "all"}}


def describe(**changes):
    """The texts of the warnings, and those of the plain statements."""
    changes = {"split": SPLIT, "best_validation_accuracy": 0.925} | changes
    statements = describe_detector(build_detector(**changes))
    tones = [each.tone for each in statements]
    assert tones == sorted(tones, reverse=True)
    warnings = [each.text for each in statements if each.tone == "warning"]
    return warnings, [each.text for each in statements if each.tone == "plain"]


def test_counts_and_validation_accuracy_are_told():
    warnings, (training,) = describe()
    assert warnings == []
    assert "1,200 fake_deepfake" in training
    assert "180 real" in training
    assert "fake_face2face" not in training
    assert "on 120 images is 92.5 %." in training
    # without counts, the kinds of fake are named
    assert "fake_deepfake" in describe(split={"fingerprint": "ab" * 32, "method": "group"})[1][0]
    # the accuracy was measured at another threshold than the detector's
    calibration = {"fitted": ["threshold"], "notes": []}
    _, (training,) = describe(threshold=0.8, calibration=calibration)
    assert "92.5 % at a threshold of 0.5." in training
    assert "the epoch and the threshold" in training


@pytest.mark.parametrize(
    "changes",
    [
        {"split": SPLIT | {"method": "individual"}},
        {"split": SPLIT | {"groups_in_more_than_one_subset": 3}},
        FINAL | {"vouched_by": VOUCHED_BY | {"split_method": "individual"}},
    ],
)
def test_related_images_in_two_subsets_are_a_warning(changes):
    assert len(describe(**changes)[0]) == 1


def test_note_is_the_first_warning():
    changes = SPLIT | {"note": "These are generated faces.", "method": "individual"}
    warnings, _ = describe(split=changes)
    assert len(warnings) == 2
    assert warnings[0].startswith("These are generated faces.")


@pytest.mark.parametrize(("vouched_by", "shown"), [(VOUCHED_BY, True), ({}, False)])
def test_a_detector_trained_on_all_images_has_the_accuracy_of_its_settings_run(vouched_by, shown):
    _, (training,) = describe(**FINAL, vouched_by=vouched_by)
    assert ("87.5 %" in training) == ("540 images" in training) == shown
