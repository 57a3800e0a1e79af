from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from reporting_samples import predict, predict_at_random, put_pictures

from deepfake_detection.pipelines.reporting.galleries import collect_gallery, draw_gallery
from deepfake_detection.reports import tiles
from deepfake_detection.reports.words import printable, shortened, wrapped

LONG = "fake_deepfake/" + "WWW_from_a_phone_" * 12 + "17.png"


def texts(figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text()]


def words_in(figure) -> str:
    return "\n".join(text.get_text() for text in texts(figure))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-60, 60)), max_size=30),
    st.integers(1, 12),
)
def test_galleries_hold_exactly_the_errors_the_most_confident_first(scores, size):
    rows = [(f"c/{i}.png", label, logit) for i, (label, logit) in enumerate(scores)]
    scored = predict("test", rows)
    missed = sorted((logit, path) for path, label, logit in rows if label == 1 and logit < 0)
    alarms = sorted((-logit, path) for path, label, logit in rows if label == 0 and logit >= 0)
    for kind, errors in (("false negative", missed), ("false positive", alarms)):
        gallery = collect_gallery(scored, kind, size)
        assert gallery.total == len(errors)
        expected = [logit for logit, _ in errors[:size]]
        logits = {path: logit for path, _, logit in rows}
        shown = [logits[case.path] for case in gallery.cases]
        # probabilities may tie where logits differ by less than a float can hold
        np.testing.assert_allclose(np.abs(shown), np.abs(expected), atol=1e-9)


def test_galleries_are_of_the_headline_subset():
    both = pd.concat([predict_at_random("validation", 60), predict_at_random("test", 60, seed=1)])
    gallery = collect_gallery(both, "false negative", 100)
    test = both[both["subset"] == "test"]
    errors = test[(test["label"] == 1) & (test["predicted"] == 0)]
    assert gallery.subset == "test"
    assert {case.path for case in gallery.cases} == set(errors["path"])
    assert gallery.in_words().startswith(
        f"{len(errors)} false negatives among the 40 fakes of test"
    )


def test_gallery_says_how_many_are_not_shown():
    scored = predict("test", [(f"a/{i}.png", 1, -1.0 - i) for i in range(9)])
    assert collect_gallery(scored, "false negative", 4).in_words() == (
        "9 false negatives among the 9 fakes of test; the 4 most confident are shown."
    )


def test_figure_names_path_probability_and_source_under_each_picture(tmp_path):
    scored = predict("test", [("real/7.png", 0, 1.0), ("real/8.png", 0, 30.0)])
    put_pictures(tmp_path, ["real/7.png", "real/8.png"])
    figure = draw_gallery(collect_gallery(scored, "false positive", 5), tmp_path, 6)
    words = words_in(figure)
    assert "fake probability 0.731" in words
    assert "fake probability > 0.999" in words
    assert "source real/0\nreal/7.png" in words
    assert sum(len(axes.images) for axes in figure.axes) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [("a/1.png", 1, 1.0), ("b/1.png", 0, -1.0)],
            "No false negative among the 1 fakes of test.",
        ),
        ([("b/1.png", 0, 1.0)], "The subset test holds no fakes."),
        ([], "holds no fakes"),
    ],
)
def test_gallery_without_an_error_says_so(tmp_path, rows, message):
    assert message in words_in(
        draw_gallery(collect_gallery(predict("test", rows), "false negative", 5), tmp_path, 6)
    )


def test_missing_and_unreadable_pictures_are_named_in_their_place(tmp_path):
    put_pictures(tmp_path, ["a/1.png"])
    (tmp_path / "a/2.png").write_bytes(b"no picture")
    scored = predict("test", [(f"a/{i}.png", 1, -float(i)) for i in (1, 2, 3)])
    figure = draw_gallery(collect_gallery(scored, "false negative", 5), tmp_path, 6)
    assert "unreadable\n\na/2.png" in words_in(figure)
    assert "missing\n\na/3.png" in words_in(figure)
    assert sum(len(axes.images) for axes in figure.axes) == 1


def test_names_with_dollars_and_line_breaks_are_drawn_as_they_are(tmp_path):
    rows = [("a/$x_{$.png", 1, -1.0), ("a/one\ntwo.png", 1, -2.0)]
    gallery = collect_gallery(predict("test", rows), "false negative", 5)
    words = words_in(draw_gallery(gallery, tmp_path, 6))
    assert "a/$x_{$.png" in words
    assert "a/one\\ntwo.png" in words


def test_long_names_touch_nothing(tmp_path):
    scored = predict("test", [(LONG.replace("17", str(i)), 1, -float(i)) for i in range(1, 9)])
    scored["source"] = "a source with " + "W" * 60
    figure = draw_gallery(collect_gallery(scored, "false negative", 8), tmp_path, 4)
    boxes = [text.get_window_extent() for text in texts(figure)]
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


@given(st.text(), st.integers(1, 40), st.integers(1, 4))
def test_names_are_cut_to_their_room_and_never_invisible(text, width, lines):
    clean = printable(text)
    assert clean.isprintable()
    assert len(shortened(clean, width)) <= width
    broken = wrapped(clean, width, lines).split("\n")
    assert len(broken) <= lines
    assert all(len(line) <= width for line in broken)
    if len(clean) <= width * lines:
        assert "".join(broken) == clean
