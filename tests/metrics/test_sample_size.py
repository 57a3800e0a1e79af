"""Planned samples: intervals as wide, and tests as powerful, as was wanted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_scores import IMAGES, draw_detectors

from deepfake_detection.metrics.differences import measure_differences
from deepfake_detection.metrics.metrics import measure
from deepfake_detection.metrics.sample_size import INDEPENDENT, plan_differences, plan_widths

OPTIONS = {"confidence": 0.95, "calibration_bins": 5, "temperature": 1.0}


def _rows(area=0.9, groups=200, seed=0):
    return draw_detectors(np.random.default_rng(seed), [area], groups)[0]


def _widths(rows):
    return {
        (each.metric, each.class_name): each.high - each.low
        for each in measure(rows, "test", "image", **OPTIONS)
    }


# of fewer than 100 groups near 1, widths differ by half of their mean between data sets
@pytest.mark.parametrize(("area", "wanted"), [(0.75, 0.08), (0.9, 0.08), (0.9, 0.03), (0.97, 0.03)])
def test_a_sample_of_the_planned_size_has_intervals_of_the_planned_width(area, wanted):
    # many groups, so that their variance is well known
    for plan in plan_widths(_rows(area, 4000), "mine", [wanted], 0.95):
        # a recall has groups of its own class, half of all
        groups = plan.groups * (2 if plan.metric == "recall" else 1)
        assert plan.images == plan.groups * IMAGES
        name = plan.metric, plan.class_name
        found = [_widths(_rows(area, groups + groups % 2, seed))[name] for seed in range(1, 11)]
        assert np.mean(found) == pytest.approx(wanted, rel=0.15), name


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([0.6, 0.9, 0.999]), st.integers(6, 60), st.integers(0, 2**32 - 1))
def test_a_narrower_interval_needs_more_groups_and_one_as_wide_as_now_about_as_many_as_now(
    area, groups, seed
):
    rows = _rows(area, groups, seed)
    wanted = [0.3, 0.1, 0.05, 0.01]
    by_metric = {}
    for plan in plan_widths(rows, "mine", wanted, 0.95):
        by_metric.setdefault((plan.metric, plan.class_name), []).append(plan)
    now = _widths(rows)
    for name, plans in by_metric.items():
        assert [each.wanted for each in plans] == wanted
        assert np.diff([each.groups for each in plans]).min() >= 0
        assert plans[0].now == pytest.approx(now[name])
        (again,) = (
            each
            for each in plan_widths(rows, "mine", [now[name] * (1 + 1e-9)], 0.95)
            if (each.metric, each.class_name) == name
        )
        assert again.groups == again.groups_now


def test_images_of_a_group_that_are_copies_have_their_number_as_design_effect():
    rows = _rows(0.8, 100).groupby("group").head(1)
    copies = rows.loc[rows.index.repeat(4)]
    for one, four in zip(
        plan_widths(rows, "mine", [0.1], 0.95),
        plan_widths(copies, "mine", [0.1], 0.95),
        strict=True,
    ):
        assert one.design_effect == pytest.approx(1)
        assert four.design_effect == pytest.approx(4, rel=0.03)
        assert (four.groups, four.images) == (one.groups, 4 * one.groups)


def test_without_an_error_or_a_class_the_note_says_what_is_known():
    rows = _rows(0.9, 40)
    perfect = rows.assign(logit=20 * rows["label"] - 10.0, predicted=rows["label"])
    for plan in plan_widths(perfect, "mine", [0.05], 0.95):
        assert plan.note.startswith("all groups agree")
        assert plan.groups > 40
        assert np.isnan(plan.design_effect)
    fakes = list(plan_widths(rows[rows["label"] == 1], "mine", [0.05], 0.95))
    unknown = {(each.metric, each.class_name) for each in fakes if each.groups is None}
    assert unknown == {("roc_auc", None), ("recall", "real")}
    assert all(each.note for each in fakes if each.groups is None)


def _pair(areas, groups, seed):
    return draw_detectors(np.random.default_rng(seed), areas, groups)


def _power(areas, groups, metric, times):
    found = []
    for seed in range(times):
        rows = measure_differences(
            *_pair(areas, groups, seed + 1), (1.0, 1.0), "test", "image", 0.95
        )
        found += [each.p_value < 0.05 for each in rows if each.metric == metric]
    return np.mean(found)


def test_a_sample_of_the_planned_size_finds_the_difference_as_often_as_was_wanted():
    pair = _pair((0.9, 0.87), 400, 0)
    (plan,) = (
        each
        for each in plan_differences(pair, ("one", "two"), [0.03], 0.8, 0.95)
        if each.metric == "roc_auc"
    )
    found = _power((0.9, 0.87), plan.groups + plan.groups % 2, "roc_auc", 150)
    # 150 data sets tell a share of 0.8 to ± 0.1, three times its standard error
    assert 0.7 <= found <= 0.9


def test_more_power_and_smaller_differences_need_more_groups_and_one_detector_alone_more_still():
    pair = _pair((0.9, 0.87), 100, 0)
    for metric in ("roc_auc", "accuracy"):

        def groups(rows, power, metric=metric, wanted=(0.05, 0.01)):
            plans = plan_differences(rows, ("one", None), wanted, power, 0.95)
            return [each for each in plans if each.metric == metric]

        paired, stronger = groups(pair, 0.8), groups(pair, 0.95)
        alone = groups(pair[:1], 0.8)
        assert paired[0].groups < paired[1].groups
        assert paired[0].groups < stronger[0].groups
        assert paired[0].groups < alone[0].groups
        assert alone[0].note == INDEPENDENT
        same = groups((pair[0], pair[0]), 0.8)
        assert {each.groups for each in same} == {None}
        assert all(each.note for each in same)
