"""Scores of sources (videos) out of those of their images (frames)."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.source_scores import (
    RULES,
    SourceScore,
    choose_source_score,
    score_sources,
)
from deepfake_detection.parameters import SourceScoreParameters

# a logit of 1e5 is as sure as one gets
frames = st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=12)
rules = st.builds(SourceScore, st.sampled_from(RULES), st.floats(0.01, 1))


def combine(score, logits, temperature=1.0):
    one_source = pd.Series(np.zeros(len(logits), int))
    return score.combine(pd.Series(logits, dtype=float), one_source, temperature).item()


@settings(deadline=None)
@given(rules, frames, st.floats(0.1, 10), st.randoms())
def test_a_score_lies_between_those_of_its_images_in_any_order(score, logits, temperature, random):
    found = combine(score, logits, temperature)
    tolerance = 1e-6 * max(1, np.abs(logits).max())
    assert min(logits) - tolerance <= found <= max(logits) + tolerance
    shuffled = random.sample(logits, len(logits))
    assert combine(score, shuffled, temperature) == pytest.approx(found, rel=1e-9, abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=1, max_size=12), st.floats(0.5, 2))
def test_each_rule_is_what_its_name_says(logits, temperature):
    values = np.array(logits)
    assert combine(SourceScore("mean_logit"), logits) == pytest.approx(values.mean(), abs=1e-9)
    mean = expit(values / temperature).mean()
    if 1e-9 < mean < 1 - 1e-9:
        found = combine(SourceScore("mean_probability"), logits, temperature)
        assert found == pytest.approx(temperature * logit(mean), abs=1e-3)
    highest = np.sort(values)[::-1]
    assert combine(SourceScore("top_share", 1.0), logits) == pytest.approx(values.mean(), abs=1e-9)
    assert combine(SourceScore("top_share", 0.001), logits) == highest[0]
    half = highest[: -(-len(logits) // 2)].mean()
    assert combine(SourceScore("top_share", 0.5), logits) == pytest.approx(half, abs=1e-9)


def make_validation(seed, sources=20):
    """Frames of a video carry an offset each, so that the rules rank videos in different orders."""
    random = np.random.default_rng(seed)
    label = np.arange(sources) % 2
    rows = [
        {"class_name": ["real", "fake"][label[n]], "label": label[n], "source": f"v{n}",
         "logit": random.normal(label[n], 3) + random.exponential(4) * (frame == 0)}
        for n in range(sources)
        for frame in range(6)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def ask(rule="validation", top_share=0.2):
    return SourceScoreParameters(rule=rule, top_share=top_share)


@pytest.mark.parametrize("seed", range(6))
def test_validation_chooses_the_rule_that_ranks_its_sources_best(seed):
    validation = make_validation(seed)
    chosen = choose_source_score(validation, 1.0, ask())
    areas = {}
    for rule in RULES:
        scored = score_sources(
            validation.assign(subset="validation", group=validation["source"]),
            0.5, 1.0, SourceScore(rule, 0.2),
        )  # fmt: skip
        areas[rule] = roc_auc_score(scored["label"], scored["logit"])
    assert dict(chosen.areas) == pytest.approx(areas)
    assert areas[chosen.rule] == max(areas.values())
    kept = SourceScore.of({"source_score": chosen.as_json()})
    assert (kept.rule, kept.areas) == (chosen.rule, chosen.areas)


def test_a_rule_that_is_set_is_not_chosen():
    assert choose_source_score(make_validation(0), 1.0, ask("top_share")) == SourceScore(
        "top_share", 0.2
    )
    # a card of an older version
    assert SourceScore.of({}) == SourceScore("mean_logit")


def test_validation_has_to_hold_both_classes():
    validation = make_validation(0)
    for few in (validation[validation["label"] == 1], validation[:0]):
        with pytest.raises(UserError, match=r"calibration\.source_score\.rule"):
            choose_source_score(few, 1.0, ask())


def test_face_tracks_of_a_video_have_one_score():
    rows = [
        ("real", 0, "two#0", 3.0), ("real", 0, "two#0", 1.0), ("fake", 1, "two#1", -1.0),
        ("real", 0, "one#0", -4.0), ("real", 0, "one#1", -5.0), ("real", 0, "plain", 0.5),
    ]  # fmt: skip
    predictions = pd.DataFrame(rows, columns=["class_name", "label", "source", "logit"])
    predictions = predictions.assign(subset="test", group=predictions["source"].str[:3])
    videos = score_sources(predictions, 0.5, 1.0, SourceScore()).set_index("source")
    assert videos["logit"].to_dict() == {"two": 2.0, "one": -4.0, "plain": 0.5}
    assert videos["label"].to_dict() == {"two": 1, "one": 0, "plain": 0}
    assert videos["class_name"].to_dict() == {"two": "fake", "one": "real", "plain": "real"}
    assert videos["predicted"].to_dict() == {"two": 1, "one": 0, "plain": 1}
