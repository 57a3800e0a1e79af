"""What a detector loses elsewhere: the interval holds the true loss, and sets must be apart."""

import numpy as np
import pytest
from scipy.stats import binomtest
from simulated_scores import draw_detectors, truths_of

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.drops import measure_drops, mover_interval
from deepfake_detection.metrics.metrics import measure


def _drops(own, elsewhere, **options):
    found = measure_drops(own, elsewhere, 1.0, "image", options.get("confidence", 0.95))
    return {(each.metric, each.class_name): each for each in found}


def _coverage(own_area, area, times, groups=480):
    """How often the interval of each drop holds the truth."""
    generator = np.random.default_rng(0)
    truths, own_truths = truths_of(area), truths_of(own_area)
    inside = dict.fromkeys(truths, 0)
    for _ in range(times):
        (own,), (elsewhere,) = (
            draw_detectors(generator, [each], groups) for each in (own_area, area)
        )
        drops = _drops(own, elsewhere)
        for name, truth in truths.items():
            inside[name] += drops[name].low <= truth - own_truths[name] <= drops[name].high
    return {name: count / times for name, count in inside.items()}


def test_newcombe_s_example_of_two_shares():
    # Newcombe 1998, table II: 56 of 70 and 48 of 80, method 10
    ends = [binomtest(*each).proportion_ci(method="wilson") for each in ((56, 70), (48, 80))]
    found = mover_interval(56 / 70, (ends[0].low, ends[0].high), 0.6, (ends[1].low, ends[1].high))
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_a_drop_is_the_difference_of_two_metric_tables_and_turns_round_with_the_sets():
    generator = np.random.default_rng(1)
    (own,), (elsewhere,) = (draw_detectors(generator, [each], 60) for each in (0.95, 0.7))
    drops, back = _drops(own, elsewhere), _drops(elsewhere, own)
    tables = (
        {
            (each.metric, each.class_name): each.value
            for each in measure(
                rows, "any", "image", confidence=0.95, calibration_bins=5, temperature=1.0
            )
        }
        for rows in (own, elsewhere)
    )
    ours, theirs = tables
    assert {name for name, _ in drops} == {
        "accuracy", "balanced_accuracy", "roc_auc", "log_loss", "brier_score", "recall",
    }  # fmt: skip
    for name, drop in drops.items():
        assert drop.difference == pytest.approx(theirs[name] - ours[name])
        assert drop.low < drop.difference < drop.high
        assert (back[name].low, back[name].high) == pytest.approx((-drop.high, -drop.low))
    assert drops["roc_auc", None].high < 0


def test_a_perfect_own_score_still_has_an_interval_and_one_class_has_none():
    generator = np.random.default_rng(2)
    (elsewhere,) = draw_detectors(generator, [0.8], 60)
    own = elsewhere.assign(logit=20 * elsewhere["label"] - 10.0, predicted=elsewhere["label"])
    drop = _drops(own, elsewhere)["roc_auc", None]
    assert drop.own_value == 1
    assert drop.low < drop.difference < drop.high < 0
    fakes = elsewhere[elsewhere["label"] == 1]
    drop = _drops(own, fakes)["roc_auc", None]
    assert np.isnan([drop.value, drop.difference, drop.low]).all()
    assert drop.note == "elsewhere: all are fake"


def test_an_image_that_is_in_both_sets_is_refused():
    (rows,) = draw_detectors(np.random.default_rng(3), [0.8], 20)
    own = rows.assign(sha256=[f"{each:064x}" for each in range(100)])
    elsewhere = own.assign(sha256=[f"{each:064x}" for each in range(98, 198)])
    with pytest.raises(UserError, match=r"2 of the 100 images .* the first being 0:"):
        _drops(own, elsewhere)


def test_a_drop_lies_in_its_interval_as_often_as_is_said():
    for name, share in _coverage(0.97, 0.75, 200).items():
        # 200 data sets tell a share of 0.95 to ± 0.046, three times its standard error
        assert 0.904 <= share <= 0.995, name


@pytest.mark.slow
@pytest.mark.parametrize(
    "areas", [(0.75, 0.75), (0.9, 0.75), (0.97, 0.75), (0.97, 0.9), (0.97, 0.97), (0.99, 0.75)]
)
def test_intervals_of_drops_hold_the_truth(areas):
    """Run with -s to see the figures."""
    print(f"\nOwn ROC AUC {areas[0]}, elsewhere {areas[1]}, 480 groups of 5 each, 2,000 data sets:")
    for name, share in _coverage(*areas, 2000).items():
        print(f"  {name!s:20} {share:.4f}")
        assert 0.93 <= share <= 0.97, name
