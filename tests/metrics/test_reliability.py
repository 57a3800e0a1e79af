import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from deepfake_detection.metrics.metrics import bin_reliability, expected_calibration_error


def score(labels: list[int], logits: list[float]) -> pd.DataFrame:
    """Scored images, each its own group."""
    probabilities = 1 / (1 + np.exp(-np.asarray(logits, dtype=np.float64)))
    groups = range(len(labels))
    return pd.DataFrame({"label": labels, "fake_probability": probabilities, "group": groups})


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(-30, 30)), min_size=1, max_size=40),
    st.integers(1, 20),
)
def test_bins_hold_every_image_once_and_make_the_calibration_error(scores, bins):
    scored = score(*map(list, zip(*scores, strict=True)))
    found = bin_reliability(scored, bins, 0.95)
    assert found["images"].sum() == len(scored)
    assert (found["images"] > 0).all()
    slack = 1e-9
    assert (found["mean_probability"] >= found["lower"] - slack).all()
    assert (found["mean_probability"] <= found["upper"] + slack).all()
    distance = (found["mean_probability"] - found["share_of_fakes"]).abs()
    error = (distance * found["images"]).sum() / len(scored)
    probabilities = scored["fake_probability"].to_numpy()
    expected = expected_calibration_error(scored["label"].to_numpy(), probabilities, bins)
    assert error == pytest.approx(expected, abs=1e-9)
    known = found.dropna(subset=["low"])
    assert (known["low"] <= known["share_of_fakes"] + slack).all()
    assert (known["high"] >= known["share_of_fakes"] - slack).all()


def test_bins_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 500)
    scored = score(list(labels), list(generator.normal(labels * 2 - 1, 1.2)))
    found = bin_reliability(scored, 10, 0.95)
    shares, means = calibration_curve(scored["label"], scored["fake_probability"], n_bins=10)
    np.testing.assert_allclose(found["share_of_fakes"], shares)
    np.testing.assert_allclose(found["mean_probability"], means)


def test_images_of_one_group_count_as_one_observation():
    apart = score([0, 1] * 50, [0.3] * 100)
    together = apart.assign(group=apart["group"] // 10)
    narrow, wide, none = (
        bin_reliability(each, 1, 0.95).iloc[0] for each in (apart, together, apart.assign(group=0))
    )
    assert np.isnan(none["low"])
    # five of ten in each group are fakes: nothing varies between groups, ten of which are known
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]
