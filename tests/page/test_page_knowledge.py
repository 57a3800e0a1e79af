"""What the page says that a detector knows."""

from detector_samples import build_detector

from deepfake_detection.page.knowledge import tell_what_it_knows
from deepfake_detection.reports.parts import Statement

SPLIT = {
    "method": "group",
    "groups_in_more_than_one_subset": 0,
    "images": {
        "train": {"real": 180, "fake_deepfake": 1200, "fake_face2face": 0},
        "validation": {"real": 60, "fake_deepfake": 60},
    },
}


def told(trained_on: int = 1380, **changes: object) -> list[Statement]:
    changes = {"split": SPLIT, "best_validation_accuracy": 0.925} | changes
    return tell_what_it_knows(build_detector(**changes).describe(), trained_on)


def warnings(statements: list[Statement]) -> list[str]:
    return [each.heading for each in statements if each.tone == "warning"]


def test_kinds_counts_and_validation_are_told():
    knows, knows_not = told()
    assert "1,380 images: 1,200 fake (1,200 fake_deepfake) and 180 real." in knows.text
    assert "validation subset of 120 images" in knows.text
    assert "right in 92.5 %." in knows.text
    assert "kept images that belong together in one subset" in knows.text
    assert "no evidence" in knows_not.text
    assert "32×32" in knows_not.text


def test_threshold_of_the_figure_is_told_where_it_is_not_the_detector_s():
    calibration = {"fitted": ["threshold"], "notes": []}
    text = told(threshold=0.8, calibration=calibration)[0].text
    assert "92.5 % at a threshold of 0.5." in text
    assert "also chose the epoch and the threshold" in text


def test_split_by_image_is_warned_of():
    statements = told(split=SPLIT | {"method": "individual"})
    assert warnings(statements) == ["It looks better than it is"]
    assert "kept images that belong together" not in statements[1].text


def test_groups_in_several_subsets_are_warned_of():
    statements = told(split=SPLIT | {"groups_in_more_than_one_subset": 3})
    assert warnings(statements) == ["It looks better than it is"]
    assert "kept images that belong together" not in statements[1].text


def test_note_comes_first_and_says_that_photographs_mean_nothing():
    first, *_ = told(split=SPLIT | {"note": "These are generated faces."})
    assert first.tone == "warning"
    assert first.text.startswith("These are generated faces. ")
    assert "means nothing" in first.text
    assert "every photograph" in first.text


def test_detector_that_knows_no_counts_still_names_its_kinds():
    knows = told(1, split={"method": "group"})[0]
    assert "trained on 1 image. The kinds of fake among them: fake_deepfake." in knows.text
