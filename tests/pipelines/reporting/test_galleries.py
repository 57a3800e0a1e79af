import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting_samples import predict, predict_at_random

from deepfake_detection.pipelines.reporting.galleries import collect_gallery
from deepfake_detection.reports import tiles


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


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a/1.png", 1, 1.0), ("b/1.png", 0, -1.0)], "No false negative among 1 fake of test."),
        ([("b/1.png", 0, 1.0)], "The subset test holds no fakes."),
    ],
)
def test_a_gallery_without_an_error_says_why(rows, words):
    assert collect_gallery(predict("test", rows), "false negative", 5).in_words() == words


def test_a_very_long_figure_is_drawn_with_fewer_pixels(monkeypatch):
    monkeypatch.setattr(tiles, "_MOST_PIXELS", 1500)
    figure = tiles.tiled_figure(2, 20)
    assert max(figure.get_size_inches() * figure.dpi) == pytest.approx(1500)
