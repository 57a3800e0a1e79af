"""Explained cases, and how they and the measures are drawn."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from detector_samples import build_detector, make_overflowing_detector
from explanation_samples import EVALUATION, make_explanation, make_predictions, put_pictures
from page_elements import words_in
from PIL import Image
from torch import nn

from deepfake_detection.errors import UserError
from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.images.reading import read_picture
from deepfake_detection.models.heat_maps import NO_GRID, NOT_FINITE, SMALLEST_GRID, HeatMaps
from deepfake_detection.pipelines.explanation.nodes import (
    draw_false_case_measures,
    draw_heat_maps,
    explain_cases,
    measure_false_cases,
)

DETECTOR = build_detector()
METRICS = {"run_fingerprint": DETECTOR.card.run_fingerprint}

# two sources of each outcome in each class, the second with two images
ROWS = [
    (f"{name}/{number}.png", label, logit)
    for label, name in enumerate(["real", "fake"])
    for number, logit in enumerate([-3, -2, -1, 1, 2, 3])
]


def explain(folder, predictions, detector=DETECTOR):
    settings = make_explanation(), EVALUATION
    return explain_cases(detector, METRICS, predictions, folder, *settings)


@pytest.fixture
def folder(tmp_path):
    put_pictures(tmp_path, [row[0] for row in ROWS])
    return tmp_path


def test_of_each_kind_the_most_confident_are_explained_by_the_heat_of_their_verdict(folder):
    cases = explain(folder, make_predictions(ROWS))
    assert [(case.kind, case.path) for case in cases] == [
        ("false negative", "fake/0.png"), ("false negative", "fake/1.png"),
        ("false positive", "real/5.png"), ("false positive", "real/4.png"),
        ("certain fake", "fake/5.png"), ("certain fake", "fake/4.png"),
        ("certain real", "real/0.png"), ("certain real", "real/1.png"),
    ]  # fmt: skip
    maps = HeatMaps(DETECTOR, smallest_grid=4)
    for case in cases[::2]:
        assert case.problem == ""
        pixels = crop_pixels(read_picture(folder / case.path), DETECTOR.preprocessing)
        verdict = [int(case.kind in ("false positive", "certain fake"))]
        expected = maps.explain(pixels[None], verdict)[0]
        np.testing.assert_allclose(case.heat, expected, atol=1e-4)
        # 60×40 pixels, resized to 60×40, of which the middle 32×32 are seen
        assert case.box == pytest.approx((14 / 60, 4 / 40, 46 / 60, 36 / 40))
    figure = draw_heat_maps(cases, folder, make_explanation())
    assert sum(len(axes.images) for axes in figure.axes) == 2 * len(cases)
    for named in ("fake probability 0.047", "source fake/6", "fake/0.png"):
        assert named in words_in(figure)
    boxes = [text.get_window_extent() for text in figure.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_no_two_examples_are_of_one_source_and_more_false_cases_follow(folder):
    cases = explain(folder, make_predictions(ROWS, images_of_source=2))
    for kind, paths in (
        ("false negative", ["fake/0.png", "fake/2.png", "fake/1.png"]),
        ("certain fake", ["fake/5.png", "fake/3.png"]),
    ):
        assert [case.path for case in cases if case.kind == kind] == paths
    shown = words_in(draw_heat_maps(cases, folder, make_explanation()))
    assert "fake/2.png" in shown
    assert "fake/1.png" not in shown


def test_only_the_headline_subset_is_explained(folder):
    both = pd.concat([make_predictions(ROWS[:6], "validation"), make_predictions(ROWS[6:], "test")])
    assert {case.class_name for case in explain(folder, both)} == {"fake"}
    assert {case.class_name for case in explain(folder, both[both["subset"] != "test"])} == {"real"}


def test_pictures_that_cannot_be_read_are_named_and_stop_nothing(folder):
    (folder / "fake/0.png").unlink()
    (folder / "real/5.png").write_bytes(b"no picture")
    cases = {case.path: case for case in explain(folder, make_predictions(ROWS))}
    assert cases["fake/0.png"].problem == "missing"
    assert cases["real/5.png"].problem.startswith("unreadable: not a picture")
    assert sum(case.heat is None for case in cases.values()) == 2
    figure = draw_heat_maps(list(cases.values()), folder, make_explanation())
    assert "missing\n\nfake/0.png" in words_in(figure)
    assert "unreadable\n\nreal/5.png" in words_in(figure)


def test_a_heat_map_that_is_not_finite_is_named_and_not_drawn(folder, caplog):
    for path, _, _ in ROWS:
        Image.new("RGB", (60, 40), "black" if path == "fake/0.png" else "red").save(folder / path)
    cases = explain(folder, make_predictions(ROWS), make_overflowing_detector())
    assert [case.path for case in cases if case.heat is None] == ["fake/0.png"]
    assert [case.problem for case in cases if case.problem] == [NOT_FINITE]
    assert NOT_FINITE in caplog.text
    figure = draw_heat_maps(cases, folder, make_explanation())
    assert sum(len(axes.images) for axes in figure.axes) == 2 * len(cases) - 1
    assert NOT_FINITE in " ".join(words_in(figure).split())


def test_without_predictions_there_is_nothing_to_explain(tmp_path):
    cases = explain(tmp_path, make_predictions(ROWS).head(0))
    assert cases == []
    assert words_in(draw_heat_maps(cases, tmp_path, make_explanation()))


@pytest.mark.parametrize("node", [explain_cases, measure_false_cases])
def test_predictions_of_another_detector_are_refused(node, folder):
    another, settings = {"run_fingerprint": "ff" * 32}, (make_explanation(), EVALUATION)
    with pytest.raises(UserError, match=r"ffff.*kedro run --pipelines evaluation"):
        node(DETECTOR, another, make_predictions(ROWS), folder, *settings)


def test_a_heat_map_without_heat_is_marked(folder):
    case, other = explain(folder, make_predictions(ROWS))[:2]
    cold = replace(case, heat=np.zeros_like(case.heat))
    for shown, marks in (([cold, other], 1), ([case, other], 0)):
        figure = draw_heat_maps(shown, folder, make_explanation())
        assert sum(len(axes.texts) for axes in figure.axes) == marks


def test_the_measures_name_their_run_are_told_in_the_log_and_drawn(folder, caplog):
    with caplog.at_level("INFO"):
        table = measure_false_cases(
            DETECTOR, METRICS, make_predictions(ROWS), folder, make_explanation(), EVALUATION
        )
    assert set(table["run_fingerprint"]) == {DETECTOR.card.run_fingerprint}
    assert set(table["subset"]) == {"test"}
    assert len(table) == 18
    assert (table["n_false"] == 3).all()
    assert "false negatives (3 against 3 right) blurred: " in caplog.text
    # filled where they differ
    table["differs"] = ["yes"] * 5 + ["no"] * 4 + ["too few"] * 9
    (axes,) = draw_false_case_measures(table).axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    filled = [point.get_markerfacecolor() == point.get_color() for point in points]
    assert filled == [True] * 5 + [False] * 4
    assert [point.get_xdata()[0] for point in points] == table["effect"].head(9).tolist()


def test_too_few_to_compare_are_counted():
    table = pd.DataFrame(
        {"kind": ["false negative", "false positive"], "region": "eyes", "measure": "contrast",
         "differs": "too few", "n_false": [1, 0], "n_right": [1200, 7]}
    )  # fmt: skip
    words = words_in(draw_false_case_measures(table))
    assert "1 false negative against 1,200 " in words
    assert "0 false positives against 7 " in words


def test_a_page_alone_and_the_pipeline_use_the_same_grid():
    from test_parameters import BASE

    assert BASE["explanation"]["smallest_grid"] == SMALLEST_GRID


def test_a_network_without_places_has_cases_without_heat_maps_that_say_so(folder, caplog):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)).eval()
    cases = explain(folder, make_predictions(ROWS), replace(DETECTOR, network=flat))
    assert len(cases) == 8
    assert {case.problem for case in cases} == {NO_GRID}
    assert all(case.heat is None for case in cases)
    assert "No picture has a heat map" in caplog.text
    figure = draw_heat_maps(cases, folder, make_explanation())
    assert "keeps places" in " ".join(words_in(figure).split())
