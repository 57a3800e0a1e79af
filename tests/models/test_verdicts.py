"""A verdict follows from probability and training distance alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepfake_detection.models.verdicts import VerdictRule, rank

shares = st.floats(0, 1)


@given(
    st.lists(st.tuples(shares, st.floats(0, 5) | st.just(np.nan)), max_size=20),
    shares, st.none() | st.tuples(shares, shares).map(sorted).map(tuple),
    st.none() | st.floats(0, 5),
)  # fmt: skip
def test_every_image_has_one_verdict_and_a_doubt_if_that_is_unsure(drawn, threshold, unsure, limit):
    probabilities, distances = np.array(drawn, dtype=float).reshape(-1, 2).T
    rule = VerdictRule(threshold, unsure, limit)
    for probability, distance, verdict, doubt in zip(
        probabilities, distances, *rule.judge(probabilities, distances), strict=True
    ):
        far = limit is not None and distance > limit
        near = unsure is not None and unsure[0] <= probability < unsure[1]
        assert (verdict == "unsure") == (far or near)
        assert doubt == ("unlike training" if far else "near the threshold" if near else None)
        if not (far or near):
            assert verdict == ("fake" if probability >= threshold else "real")


def test_a_card_without_a_rule_is_never_unsure():
    rule = VerdictRule.of(0.4, {})
    verdicts, doubts = rule.judge(np.array([0.3999, 0.4]), np.array([1e9, np.nan]))
    assert verdicts.tolist() == ["real", "fake"]
    assert doubts.tolist() == [None, None]


def test_a_sure_fake_decides_before_an_unsure_face_and_that_before_real_ones():
    faces = [("real", 9.0), ("unsure", 5.0), ("fake", 0.1), ("fake", 0.2), ("real", -3.0)]
    ordered = sorted(faces, key=lambda face: rank(*face))
    assert ordered[-3:] == [("unsure", 5.0), ("fake", 0.1), ("fake", 0.2)]
