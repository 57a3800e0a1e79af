"""Which measures set false cases apart."""

import numpy as np
import pandas as pd
import pytest
from explanation_samples import MEASURES, measured
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_detection.images.region_statistics import MeasuredPicture
from deepfake_detection.pipelines.explanation.comparing import (
    COLUMNS,
    check_guesses,
    compare_false_cases,
)

SHARP, CONTRAST = ("picture", "sharpness"), ("mouth", "contrast")


def scored(label, wrong, groups=None):
    label = np.asarray(label)
    return pd.DataFrame(
        {
            "class_name": np.where(label == 1, "fake", "real"),
            "label": label,
            "group": np.arange(len(label)) if groups is None else groups,
            "predicted": np.where(wrong, 1 - label, label),
        }
    )


def row(table, kind, place):
    return table.set_index(["kind", "region", "measure"]).loc[(kind, *place)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.sampled_from(["false positive", "false negative"]),
)
def test_the_effect_is_the_share_of_pairs_in_which_the_false_case_has_more(false, right, kind):
    pictures = [measured({SHARP: float(value)}) for value in [*false, *right]]
    label = [int(kind == "false negative")] * len(pictures)
    wrong = np.arange(len(pictures)) < len(false)
    found = row(compare_false_cases(scored(label, wrong), pictures, 2, 0.95), kind, SHARP)
    wins = [(a > b) + (a == b) / 2 for a in false for b in right]
    assert found["effect"] == pytest.approx(np.mean(wins))
    for name, values in (("false", false), ("right", right)):
        assert found[f"{name}_median"] == np.median(values)
        assert found[f"n_{name}"] == len(values)
    if found["differs"] != "too few":
        names = ("corrected_low", "low", "effect", "high", "corrected_high")
        # in this order, but for rounding
        assert np.diff([found[name] for name in names]).min() > -1e-12


def _draw(seed, planted=0.0):
    """Groups of five images, alike in all measures; a sixth of the images wrong."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(90), 5)
    label = (groups % 3 > 0).astype(int)
    # a group goes wrong as a whole more often than chance has it
    wrong = generator.random(450) < np.repeat(generator.beta(0.5, 2.5, 90), 5)
    values = generator.normal(size=(90, 9)).repeat(5, axis=0) + generator.normal(size=(450, 9))
    values[:, MEASURES.index(SHARP)] -= planted * wrong * label
    pictures = [measured(dict(zip(MEASURES, each.tolist(), strict=True))) for each in values]
    return scored(label, wrong, groups), pictures


def test_what_was_planted_is_found_and_nothing_else():
    table = compare_false_cases(*_draw(0, planted=2.0), 5, 0.95)
    assert list(table.columns) == COLUMNS
    assert len(table) == 18
    differing = table.query("differs == 'yes'").set_index(["kind", "region", "measure"])
    assert list(differing.index) == [("false negative", *SHARP)]
    assert differing["corrected_high"].item() < 0.5
    said = check_guesses(table)
    assert "blurred: yes" in said
    assert "dark: not shown" in said
    assert "with open mouths (contrast): not shown" in said
    opposite = compare_false_cases(*_draw(0, planted=-2.0), 5, 0.95)
    assert "blurred: the opposite" in check_guesses(opposite)


def test_where_nothing_differs_few_tables_find_anything():
    """Corrected for 18 comparisons, 1 table in 20 may, though images come in groups."""
    tables = [compare_false_cases(*_draw(seed), 5, 0.95) for seed in range(100)]
    # 100 tables tell a share of 0.05 to ± 0.065, three times its standard error
    assert np.mean([(table["differs"] == "yes").any() for table in tables]) <= 0.115


def test_false_cases_of_few_groups_are_not_compared_and_not_counted():
    label = np.repeat([1, 0], 40)
    wrong = np.arange(80) % 40 < 10
    groups = np.arange(80)
    groups[:10] = 0  # all ten false negatives are of one group
    pictures = [measured({SHARP: value}) for value in np.linspace(0, 1, 80)]
    table = compare_false_cases(scored(label, wrong, groups), pictures, 2, 0.95)
    missed, alarms = row(table, "false negative", SHARP), row(table, "false positive", SHARP)
    assert missed["differs"] == "too few"
    assert missed[["low", "high", "corrected_low", "corrected_high"]].isna().all()
    assert missed["effect"] == 0
    assert alarms["differs"] == "yes"
    assert "corrected for 9 comparisons" in alarms["note"]
    assert "blurred: too few to say" in check_guesses(table)


@pytest.mark.parametrize("wrong", [False, True])
def test_a_class_without_false_or_without_right_cases_is_said(wrong):
    table = compare_false_cases(scored([1, 1, 0, 0], wrong), [measured({})] * 4, 2, 0.95)
    assert (table["differs"] == "too few").all()
    assert table["effect"].isna().all()
    assert table["note"].str.startswith("nothing could be compared").all()


def test_the_note_says_what_was_compared_and_what_was_left_out():
    frame, pictures = _draw(2)
    frame.loc[frame.index[5], "class_name"] = "another folder of fakes"
    pictures[10] = MeasuredPicture((120, 90), pictures[10].values)
    pictures[5 + 3], pictures[5 + 4] = None, None
    table = compare_false_cases(frame, pictures, 5, 0.95)
    compared = "18 comparisons (Bonferroni: confidence 0.9972)"
    assert table["note"].str.contains(compared, regex=False).all()
    ones = row(table, "false negative", SHARP)
    for told in ("2 class folders", "2 pictures", "90 to 299 pixels along their shorter side"):
        assert told in ones["note"]
    assert ones["n_false"] + ones["n_right"] == (frame["label"] == 1).sum() - 2
    assert "shorter side" not in row(table, "false negative", ("picture", "brightness"))["note"]
    assert "the same part of every picture" in row(table, "false negative", CONTRAST)["note"]
    assert "the same part" not in ones["note"]


def test_nothing_readable_makes_an_empty_table_with_its_columns():
    table = compare_false_cases(scored([1, 0], [True, False]), [None] * 2, 2, 0.95)
    assert table.empty
    assert list(table.columns) == COLUMNS
    assert check_guesses(table) == "no picture could be measured"
