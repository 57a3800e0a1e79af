"""Scores of sources out of those of their images; validation alone chooses their rule."""

import numpy as np
import pandas as pd
import pytest
from detector_samples import build_detector
from explanation_samples import EVALUATION
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import roc_auc_score
from training_samples import make_calibration

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.calibration import choices_on_validation
from deepfake_detection.metrics.source_scores import (
    RULES,
    SourceScore,
    choose_source_score,
    score_sources,
)
from deepfake_detection.pipelines.calibration.nodes import calibrate_detector
from deepfake_detection.pipelines.evaluation.nodes import measure_predictions

images = st.lists(st.tuples(st.sampled_from("abc"), st.floats(-700, 700)), min_size=1, max_size=40)
rules = st.builds(
    SourceScore, st.sampled_from(RULES), st.sampled_from([1e-9, 0.1, 0.25, 0.5, 0.9, 1.0])
)
temperatures = st.sampled_from([0.3, 1.0, 4.0])


def _columns(drawn):
    sources, logits = zip(*drawn, strict=True)
    return pd.Series(logits, dtype=float), pd.Series(sources)


@given(images, rules, temperatures)
def test_a_source_scores_between_its_images_in_the_order_of_their_first(drawn, rule, temperature):
    logits, sources = _columns(drawn)
    found = rule.combine(logits, sources, temperature)
    assert found.index.tolist() == list(dict.fromkeys(sources))
    by_source = logits.groupby(sources, sort=False)
    assert (found >= by_source.min() - 1e-9 * (1 + by_source.min().abs())).all()
    assert (found <= by_source.max() + 1e-9 * (1 + by_source.max().abs())).all()


@given(images, rules, temperatures, st.integers(0, 99))
def test_the_order_of_images_makes_no_difference(drawn, rule, temperature, seed):
    logits, sources = _columns(drawn)
    mixed = logits.sample(frac=1, random_state=seed)
    found = rule.combine(mixed, sources[mixed.index], temperature)
    expected = rule.combine(logits, sources, temperature)
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), rtol=1e-9, atol=1e-9)


@given(st.floats(-700, 700), rules, temperatures)
def test_one_image_is_its_source(logit, rule, temperature):
    found = rule.combine(pd.Series([logit]), pd.Series(["a"]), temperature)
    assert found["a"] == pytest.approx(logit, rel=1e-9, abs=1e-9)


@given(images)
def test_all_images_are_the_top_share_of_one_and_the_highest_that_of_nearly_none(drawn):
    logits, sources = _columns(drawn)
    whole, least = (
        SourceScore("top_share", share).combine(logits, sources, 1) for share in (1, 1e-9)
    )
    mean = logits.groupby(sources, sort=False).mean()
    pd.testing.assert_series_equal(whole, mean, check_exact=True)
    pd.testing.assert_series_equal(least, logits.groupby(sources, sort=False).max())


@given(images, temperatures)
def test_mean_probabilities_are_means_of_probabilities(drawn, temperature):
    logits, sources = _columns(drawn)
    found = SourceScore("mean_probability").combine(logits, sources, temperature)
    mean = expit(logits / temperature).groupby(sources, sort=False).mean()
    np.testing.assert_allclose(expit(found / temperature), mean, atol=1e-12)


@pytest.mark.parametrize(("share", "taken"), [(0.1, 3), (0.101, 4), (0.25, 8)])
def test_a_share_is_of_whole_images_rounded_up(share, taken):
    logits, sources = pd.Series(np.arange(30.0)), pd.Series(["a"] * 30)
    found = SourceScore("top_share", share).combine(logits, sources, 1.0)
    assert found["a"] == pytest.approx(np.mean(range(30 - taken, 30)))


def _validation(draw, sources=12, frames=8):
    """Fakes differ from real ones in a few frames only, so that the rules are unequally good."""
    generator = np.random.default_rng(draw)
    number = np.repeat(np.arange(sources), frames)
    label = number % 2
    odd = (np.tile(np.arange(frames), sources) == 0) & (label == 1)
    logit = generator.normal(size=len(number)) - 1 + 4 * odd
    name = np.where(label == 1, "fake", "real")
    source = [f"{name}/{each}" for name, each in zip(name, number, strict=True)]
    return pd.DataFrame(
        {"class_name": name, "label": label, "source": source, "logit": logit, "group": source}
    )


@pytest.mark.parametrize("draw", range(5))
def test_validation_takes_the_rule_with_the_highest_area(draw):
    validation = _validation(draw)
    chosen = choose_source_score(
        validation, 2.0, make_calibration(source_score="validation").source_score
    )
    for rule, area in chosen.areas.items():
        rows = validation.assign(subset="validation")
        table = score_sources(rows, 0.5, 2.0, SourceScore(rule, 0.25))
        assert area == roc_auc_score(table["label"], table["logit"])
    assert chosen.areas.keys() == set(RULES)
    assert chosen.areas[chosen.rule] == max(chosen.areas.values())
    assert SourceScore.of({"source_score": chosen.as_json()}) == SourceScore(
        chosen.rule, 0.25 if chosen.rule == "top_share" else 1.0, chosen.areas
    )


def test_of_equally_good_rules_the_mean_logit_is_taken_and_a_set_one_as_it_is():
    validation = _validation(0, frames=1)
    asked = make_calibration(source_score="validation").source_score
    assert choose_source_score(validation, 1.0, asked).rule == "mean_logit"
    for rule in RULES:
        asked = make_calibration(source_score=rule).source_score
        # nothing is needed of validation then
        assert choose_source_score(validation[["label", "logit"]], 1.0, asked) == SourceScore(
            rule, 0.25
        )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: rows[rows["label"] == 1],
        lambda rows: rows[rows["label"] == 0],
        lambda rows: rows.head(0),
        # as older versions left it
        lambda rows: rows.drop(columns=["source", "class_name"]),
    ],
)
def test_a_choice_that_cannot_be_made_names_its_parameter(spoil):
    asked = make_calibration(source_score="validation").source_score
    with pytest.raises(UserError, match=r"calibration\.source_score\.rule") as caught:
        choose_source_score(spoil(_validation(0)), 1.0, asked)
    assert "\n" not in str(caught.value)


def test_the_choice_is_of_validation_rows_alone_and_stands_in_metrics():
    detector = build_detector()
    run = detector.card.run_fingerprint
    validation = _validation(3).assign(run_fingerprint=run)
    calibrated = calibrate_detector(
        detector, validation, make_calibration(source_score="validation")
    )
    chosen = calibrated.card.calibration["source_score"]
    assert chosen["rule"] == "top_share"
    said = choices_on_validation(calibrated.card.calibration)
    assert said != choices_on_validation({"fitted": []})

    tables = []
    for draw in (4, 5):
        test = _validation(draw).assign(run_fingerprint=run)
        # on these rows the chosen rule is not the best one
        test["logit"] = np.where(test["label"] == 1, -0.1 * test["logit"], test["logit"])
        rows = pd.concat([validation.assign(subset="validation"), test.assign(subset="test")])
        probability = expit(rows["logit"])
        rows = rows.assign(fake_probability=probability, predicted=(probability >= 0.5).astype(int))
        table, metrics = measure_predictions(rows, calibrated, EVALUATION)
        assert metrics["source_score"] == chosen
        assert said in metrics["chosen_on_validation"]
        expected = score_sources(
            test.assign(subset="test"), 0.5, 1.0, SourceScore("top_share", 0.25)
        )
        area = metrics["subsets"]["test"]["sources"]["roc_auc"]["value"]
        assert area == pytest.approx(roc_auc_score(expected["label"], expected["logit"]))
        tables.append(table[table["subset"] == "validation"])
    pd.testing.assert_frame_equal(*tables)


def test_face_tracks_of_a_video_have_one_score():
    rows = [
        ("real", 0, "two#track_00", 3.0), ("real", 0, "two#track_00", 1.0),
        ("fake", 1, "two#track_01", -1.0), ("real", 0, "one#track_00", -4.0),
        ("real", 0, "one#track_01", -5.0), ("real", 0, "plain", 0.5),
    ]  # fmt: skip
    predictions = pd.DataFrame(rows, columns=["class_name", "label", "source", "logit"])
    predictions = predictions.assign(subset="test", group=predictions["source"].str[:3])
    videos = score_sources(predictions, 0.5, 1.0, SourceScore()).set_index("source")
    assert videos["logit"].to_dict() == {"two": 2.0, "one": -4.0, "plain": 0.5}
    assert videos["label"].to_dict() == {"two": 1, "one": 0, "plain": 0}
    assert videos["class_name"].to_dict() == {"two": "fake", "one": "real", "plain": "real"}
    assert videos["predicted"].to_dict() == {"two": 1, "one": 0, "plain": 1}
