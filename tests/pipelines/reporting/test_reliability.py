import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection
from reporting_samples import predict, predict_at_random
from sklearn.calibration import calibration_curve

from deepfake_detection.pipelines.reporting.reliability import (
    bin_reliability,
    calibration_error,
    draw_reliability,
)

BOTH = pd.concat([predict_at_random("validation", 90), predict_at_random("test", 60, seed=1)])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-30, 30)), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_bins_hold_every_image_once_and_make_the_calibration_error(scores, bins):
    scored = predict(
        "test", [(f"c/{i}.png", label, logit) for i, (label, logit) in enumerate(scores)]
    )
    found = bin_reliability(scored, bins, 0.95)
    assert found["images"].sum() == len(scored)
    assert (found["images"] > 0).all()
    slack = 1e-9
    assert (found["mean_probability"] >= found["lower"] - slack).all()
    assert (found["mean_probability"] <= found["upper"] + slack).all()
    distance = (found["mean_probability"] - found["share_of_fakes"]).abs()
    error = (distance * found["images"]).sum() / len(scored)
    assert calibration_error(scored, bins) == pytest.approx(error, abs=1e-9)
    known = found.dropna(subset=["low"])
    assert (known["low"] <= known["share_of_fakes"] + slack).all()
    assert (known["high"] >= known["share_of_fakes"] - slack).all()


def test_bins_are_those_of_scikit_learn():
    scored = predict_at_random("test", 500)
    found = bin_reliability(scored, 10, 0.95)
    shares, means = calibration_curve(scored["label"], scored["fake_probability"], n_bins=10)
    np.testing.assert_allclose(found["share_of_fakes"], shares)
    np.testing.assert_allclose(found["mean_probability"], means)


def test_images_of_one_group_count_as_one_observation():
    rows = [(f"{label}/{i}.png", label, 0.3) for i in range(50) for label in (0, 1)]
    apart = predict("test", rows).assign(group=range(100))
    together = apart.assign(group=apart["group"] // 10)
    one = apart.assign(group=0)
    (narrow, wide, none) = (
        bin_reliability(each, 1, 0.95).iloc[0] for each in (apart, together, one)
    )
    assert np.isnan(none["low"])
    # five of ten in each group are fakes: nothing varies between groups, ten of which are known
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]


def test_figure_has_a_mark_and_a_bar_for_each_bin_and_says_the_error():
    figure = draw_reliability(BOTH, 15, 0.95)
    above, below = figure.axes
    bins = {subset: bin_reliability(part, 15, 0.95) for subset, part in BOTH.groupby("subset")}
    legend = [text.get_text() for text in above.get_legend().get_texts()]
    for subset, part in BOTH.groupby("subset"):
        error = calibration_error(part, 15)
        assert f"{subset}: expected calibration error {error:.3f}" in legend
    drawn = above.findobj(PathCollection)
    marks = [set(map(tuple, np.asarray(mark.get_offsets()))) for mark in drawn]
    heights = [[bar.get_height() for bar in bars] for bars in below.containers]
    for subset, found in bins.items():
        assert set(zip(found["mean_probability"], found["share_of_fakes"], strict=True)) in marks
        assert list(found["images"]) in heights, subset
