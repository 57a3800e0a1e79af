from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from page_elements import words_in
from reporting_samples import predict, predict_at_random, put_pictures

from deepfake_detection.pipelines.reporting.galleries import collect_gallery, draw_gallery
from deepfake_detection.reports import tiles

LONG = "fake_deepfake/" + "WWW_from_a_phone_" * 12 + "17.png"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.floats(-60, 60)), max_size=30), st.integers(1, 12))
def test_galleries_hold_exactly_the_errors_the_most_confident_first(scores, size):
    rows = [(f"c/{i}.png", label, logit) for i, (label, logit) in enumerate(scores)]
    missed = [-logit for label, logit in scores if label == 1 and logit < 0]
    flagged = [logit for label, logit in scores if label == 0 and logit >= 0]
    logits = {path: logit for path, _, logit in rows}
    for kind, errors in (("false negative", missed), ("false positive", flagged)):
        gallery = collect_gallery(predict("test", rows), kind, size)
        assert gallery.total == len(errors)
        shown = [abs(logits[path]) for path in gallery.cases["path"]]
        # probabilities may tie where logits differ by less than a float can hold
        np.testing.assert_allclose(shown, sorted(errors, reverse=True)[:size], atol=1e-9)


def test_galleries_are_of_the_headline_subset_and_count_what_they_show():
    both = pd.concat([predict_at_random("validation", 60), predict_at_random("test", 60, seed=1)])
    errors = both.query("subset == 'test' and label == 1 and predicted == 0")
    gallery = collect_gallery(both, "false negative", 100)
    assert gallery.subset == "test"
    assert set(gallery.cases["path"]) == set(errors["path"])
    counts = f"{len(errors)} false negatives among 40 fakes of test"
    assert gallery.in_words().startswith(counts)
    fewer = collect_gallery(both, "false negative", 2).in_words()
    assert fewer.startswith(counts)
    assert "the 2 most" in fewer


def test_figure_names_path_probability_and_source_under_each_picture(tmp_path):
    rows = [
        ("real/7.png", 0, 1.0), ("real/8.png", 0, 30.0), ("real/$x_{$.png", 0, 0.5),
        ("real/one\ntwo.png", 0, 0.25), ("real/missing.png", 0, 0.2), ("real/no.png", 0, 0.1),
    ]  # fmt: skip
    put_pictures(tmp_path, [path for path, _, _ in rows[:4]])
    (tmp_path / "real/no.png").write_bytes(b"no picture")
    gallery = collect_gallery(predict("test", rows), "false positive", 6)
    figure = draw_gallery(gallery, tmp_path, 6)
    for shown in (
        "0.731", "> 0.999", "source real/0\nreal/7.png", "real/$x_{$.png", "real/one\\ntwo.png",
        "missing\n\nreal/missing.png", "unreadable\n\nreal/no.png",
    ):  # fmt: skip
        assert shown in words_in(figure)
    assert sum(len(axes.images) for axes in figure.axes) == 4


@pytest.mark.parametrize(
    "rows", [[("a/1.png", 1, 1.0), ("b/1.png", 0, -1.0)], [("b/1.png", 0, 1.0)], []]
)
def test_gallery_without_an_error_is_drawn_with_its_reason(tmp_path, rows):
    gallery = collect_gallery(predict("test", rows), "false negative", 5)
    assert gallery.in_words() in words_in(draw_gallery(gallery, tmp_path, 6))


def test_long_names_touch_nothing(tmp_path):
    scored = predict("test", [(LONG.replace("17", str(i)), 1, -float(i)) for i in range(1, 9)])
    scored["source"] = "a source with " + "W" * 60
    figure = draw_gallery(collect_gallery(scored, "false negative", 8), tmp_path, 4)
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    tiles = [axes.get_window_extent() for axes in figure.axes]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)
    inside = [text for axes in figure.axes for text in axes.texts]
    captions = [text.get_window_extent() for text in figure.texts]
    assert len(inside) == 8
    assert not any(caption.overlaps(tile) for caption in captions for tile in tiles)


def test_a_very_long_gallery_is_drawn_with_fewer_pixels(tmp_path, monkeypatch):
    monkeypatch.setattr(tiles, "_MOST_PIXELS", 1500)
    scored = predict("test", [(f"a/{i}.png", 1, -1.0) for i in range(9)])
    figure = draw_gallery(collect_gallery(scored, "false negative", 9), tmp_path, 1)
    assert max(figure.get_size_inches() * figure.dpi) == pytest.approx(1500)
