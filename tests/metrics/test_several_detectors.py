"""Any number of detectors on the same images: pairs, corrected p-values, and their coverage."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_scores import draw_detectors, truths_of

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.differences import measure_differences
from deepfake_detection.metrics.several_detectors import compare_all, compare_scored, correct_holm

JUDGING = {"threshold": 0.5, "temperature": 1.0, "source_score": {"rule": "mean_logit"}}
NAMES = ("one", "two", "three")


def _compare(tables, confidence=0.95):
    predictions = dict(zip(NAMES, tables, strict=False))
    return compare_all(predictions, dict.fromkeys(predictions, JUDGING), confidence)


def test_every_pair_has_the_differences_of_the_two_alone_in_whatever_order_rows_come():
    tables = draw_detectors(np.random.default_rng(0), (0.7, 0.8, 0.9), 40)
    shuffled = [each.sample(frac=1, random_state=at) for at, each in enumerate(tables)]
    found = _compare([tables[0], *shuffled[1:]])
    assert set(found["level"]) == {"image", "source"}
    images = found[found["level"] == "image"]
    pairs = list(combinations(NAMES, 2))
    assert list(images.groupby(["detector", "other_detector"], sort=False).groups) == pairs
    by_name = dict(zip(NAMES, tables, strict=True))
    for (name, other), rows in images.groupby(["detector", "other_detector"]):
        alone = measure_differences(
            by_name[name], by_name[other], (1.0, 1.0), "test", "image", 0.95
        )
        kept = rows.drop(columns=["detector", "other_detector", "p_holm"]).reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, pd.DataFrame(alone), check_dtype=False)


def test_an_image_that_only_two_of_three_scored_is_named():
    tables = draw_detectors(np.random.default_rng(0), (0.7, 0.8, 0.9), 8)
    with pytest.raises(UserError, match=r"^one and three were not .*: 12 \(test\)"):
        _compare([*tables[:2], tables[2].drop(index=12)])
    with pytest.raises(UserError, match="given twice"):
        _compare([tables[0], pd.concat([tables[1][1:], tables[1][:1], tables[1][:1]])])


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_a_p_value_is_small_exactly_where_the_interval_leaves_out_0(confidence):
    agreed = []
    for seed in range(12):
        tables = draw_detectors(np.random.default_rng(seed), (0.75, 0.77, 0.8), 30)
        found = _compare(tables, confidence)
        found = found[found["p_value"].notna()]
        small, out = found["p_value"] < 1 - confidence, found["low"] * found["high"] > 0
        assert (small == out).all()
        agreed += [*out]
    assert 0 < np.mean(agreed) < 1


def test_a_detector_that_differs_nowhere_has_no_p_value():
    table = draw_detectors(np.random.default_rng(0), (0.8,), 20)[0]
    found = _compare([table, table])
    assert found[["p_value", "p_holm", "low"]].isna().all(axis=None)


def test_holm_s_correction_steps_down_and_counts_what_is_unknown():
    # Holm 1979 by hand: 3 × 0.01, then 2 × 0.04 (not below the one before), then 1 × 0.045
    found = correct_holm(pd.Series([0.04, 0.01, 0.045]))
    assert found == pytest.approx([0.08, 0.03, 0.08])
    unknown = correct_holm(pd.Series([np.nan, 0.01, 0.6]))
    assert unknown == pytest.approx([np.nan, 0.03, 1.0], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_corrected_p_values_keep_their_order_and_lie_between_the_plain_and_bonferroni_s(drawn):
    plain = np.array(drawn)
    corrected = correct_holm(pd.Series(drawn))
    assert (corrected >= plain).all()
    assert (corrected <= np.minimum(len(plain) * plain, 1)).all()
    assert (np.diff(corrected[np.argsort(plain, kind="stable")]) >= 0).all()


def _simulate(areas, times):
    """How often the interval of each difference holds the truth; and any is called different."""
    generator = np.random.default_rng(0)
    truths = [truths_of(area) for area in areas]
    names = dict(zip(NAMES, range(len(areas)), strict=False))
    inside: dict[tuple[str, str | None], list[bool]] = {name: [] for name in truths[0]}
    called: dict[tuple[str, str | None], list[bool]] = {name: [] for name in truths[0]}
    for _ in range(times):
        tables = dict(zip(NAMES, draw_detectors(generator, areas), strict=False))
        found = compare_scored(tables, dict.fromkeys(tables, 1.0), "test", "image", 0.95)
        classes = found["class_name"].where(found["class_name"].notna(), None)
        for name, rows in found.groupby([found["metric"], classes], dropna=False):
            key = name[0], name[1] if isinstance(name[1], str) else None
            if key not in truths[0]:
                continue
            called[key].append(bool((rows["p_holm"] < 0.05).any()))
            for row in rows.itertuples():
                one, other = (
                    truths[names[each]][key] for each in (row.detector, row.other_detector)
                )
                inside[key].append(row.low <= one - other <= row.high)
    return tuple({name: np.mean(each) for name, each in of.items()} for of in (inside, called))


def test_differences_of_three_lie_in_their_intervals_and_equal_ones_are_seldom_told_apart():
    inside, called = _simulate((0.9, 0.9, 0.9), 120)
    for name in inside:
        # 120 data sets tell shares of 0.95 and 0.05 to ± 0.06, three times their standard error
        assert inside[name] >= 0.89, name
        assert called[name] <= 0.11, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "areas", [(0.75, 0.75, 0.75), (0.9, 0.9, 0.9), (0.97, 0.97, 0.97), (0.75, 0.9, 0.97)]
)
def test_intervals_of_several_detectors_hold_the_truth(areas):
    """Run with -s to see the figures."""
    inside, called = _simulate(areas, 2000)
    print(f"\nROC AUCs {areas}, 480 groups of five images, 2,000 data sets:")
    for name in inside:
        print(f"  {name!s:20} interval {inside[name]:.4f}   any told apart {called[name]:.4f}")
        assert 0.93 <= inside[name] <= 0.97, name
        if len(set(areas)) == 1:
            # within three standard errors of at most 5 %
            assert called[name] <= 0.05 + 0.0146, name
