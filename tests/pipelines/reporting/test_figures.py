from functools import partial

import numpy as np
import pandas as pd
import pytest
from page_elements import words_in
from reporting_samples import predict, predict_at_random, trained_for
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_score,
    recall_score,
    roc_auc_score,
)

from deepfake_detection.metrics.metrics import bin_reliability, measure_all
from deepfake_detection.metrics.scored import Scored
from deepfake_detection.pipelines.reporting.figures import (
    draw_confusion_matrices,
    draw_curves,
    draw_precision_recall,
    draw_roc,
)
from deepfake_detection.pipelines.reporting.reliability import draw_reliability
from deepfake_detection.pipelines.reporting.thresholds import draw_scores, list_thresholds
from deepfake_detection.reports.curves import best_row
from deepfake_detection.reports.style import COLOURS
from deepfake_detection.reports.words import percent

ONLY_FAKES = predict("test", [("fake/1.png", 1, 2.0), ("fake/2.png", 1, -1.0)])
BOTH = pd.concat([predict_at_random("validation", 90), predict_at_random("test", 60, seed=1)])


def points_in(figure):
    """The operating points of the only axes."""
    (axes,) = figure.axes
    rings = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    return [(x, y) for x, y in rings if y >= 0]


def test_legends_hold_what_scikit_learn_finds():
    roc, precision = words_in(draw_roc(BOTH, 0.5, 0.95)), words_in(draw_precision_recall(BOTH, 0.5))
    for subset, part in BOTH.groupby("subset"):
        label, logit = part["label"], part["logit"]
        assert f"{subset}, {len(part)} images (AUC = {roc_auc_score(label, logit):.2f})" in roc
        assert f"{subset} (AP = {average_precision_score(label, logit):.2f})" in precision
        assert f"{subset}: guessing {label.mean():.2f}" in precision


def test_operating_points_stand_where_the_predictions_put_them():
    scored = predict_at_random("test", 300)
    rates = scored.groupby("label")["predicted"].mean()
    assert points_in(draw_roc(scored, 0.5, 0.95)) == [(rates[0], rates[1])]
    label, predicted = scored["label"], scored["predicted"]
    expected = (recall_score(label, predicted), precision_score(label, predicted))
    assert points_in(draw_precision_recall(scored, 0.5)) == [expected]
    # nothing called fake: no precision
    assert points_in(draw_precision_recall(scored.assign(predicted=0), 0.5)) == []


def test_the_band_of_a_roc_curve_is_the_interval_of_recall_between_groups():
    scored = predict_at_random("test", 120)
    (axes,) = draw_roc(scored, 0.5, 0.9).axes
    (band,) = axes.collections
    drawn = band.get_paths()[0].vertices
    measured = measure_all(Scored.of(scored, "image", 1.0), 10)
    recall = next(each for each in measured if (each.metric, each.class_name) == ("recall", "fake"))
    rate = scored.loc[scored["label"] == 0, "predicted"].mean()
    at_rate = drawn[np.isclose(drawn[:, 0], rate)][:, 1]
    for end in recall.interval(scored["group"].to_numpy(), 0.9):
        assert np.isclose(at_rate, end).any()


def test_certain_scores_do_not_tie():
    rows = [(f"{label}/{i}.png", label, 800.0 + i) for i, label in enumerate([0, 0, 1, 1])]
    assert "AUC = 1.00" in words_in(draw_roc(predict("test", rows), 0.5, 0.95))
    assert "AP = 1.00" in words_in(draw_precision_recall(predict("test", rows), 0.5))


@pytest.mark.parametrize(("draw", "named"), [
    (partial(draw_roc, confidence=0.95), "AUC"), (draw_precision_recall, "AP"),
])  # fmt: skip
def test_subset_of_one_class_has_no_curve_and_the_figure_says_so(draw, named):
    words = words_in(draw(pd.concat([ONLY_FAKES, predict_at_random("validation", 30)]), 0.5))
    assert "test: undefined" in words
    assert f"({named} = " in words


def test_confusion_matrices_hold_counts_and_shares_the_headline_subset_first():
    figure = draw_confusion_matrices(BOTH)
    assert [axes.get_title("left").split()[-1] for axes in figure.axes] == ["test", "validation"]
    for subset, axes in zip(("test", "validation"), figure.axes, strict=True):
        part = BOTH[BOTH["subset"] == subset]
        counts = confusion_matrix(part["label"], part["predicted"])
        cells = [text.get_text().split("\n")[:2] for text in axes.texts]
        shares = counts / counts.sum(axis=1, keepdims=True)
        expected = [[f"{n}", percent(s)] for n, s in zip(counts.flat, shares.flat, strict=True)]
        assert cells == expected
    assert words_in(draw_confusion_matrices(ONLY_FAKES)).count("none of this class") == 2


def test_nothing_scored():
    nothing = BOTH.head(0)
    for figure in (
        draw_confusion_matrices(nothing), draw_roc(nothing, 0.5, 0.95),
        draw_precision_recall(nothing, 0.5), draw_reliability(nothing, 0.95),
        draw_scores(nothing, 0.5, 1.0),
    ):  # fmt: skip
        assert "No image was scored" in words_in(figure)


@pytest.mark.parametrize("epochs", [1, 2, 3, 20])
def test_epochs_are_whole_numbers_within_the_figure(epochs):
    for quantity in ("loss", "accuracy"):
        (axes,) = draw_curves(trained_for(epochs), quantity, "a").axes
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert {tick % 1 for tick in ticks} == {0}
        assert low < 1 <= epochs < high


def test_best_epoch_is_the_first_of_equals_and_marked():
    history = trained_for(5).assign(validation_accuracy=[0.5, 0.9, 0.7, 0.9, np.nan])
    assert best_row(history)["epoch"] == 2
    assert "best epoch: 2" in words_in(draw_curves(history, "accuracy", "a"))


def test_history_without_an_epoch_or_without_finite_values():
    assert best_row(trained_for(0)) is None
    assert "no training history" in words_in(draw_curves(trained_for(0), "loss", "a"))
    broken = trained_for(3).assign(validation_loss=np.inf, validation_accuracy=np.nan)
    assert "best epoch" not in words_in(draw_curves(broken, "loss", "a"))


def test_a_subset_has_one_colour_everywhere():
    history = trained_for(3)
    for figure in (draw_curves(history, "loss", "a"), draw_curves(history, "accuracy", "a"),
                   draw_roc(BOTH, 0.5, 0.95)):  # fmt: skip
        named = {line.get_label().split(",")[0]: line for line in figure.axes[0].lines}
        assert named["validation"].get_color() == COLOURS["validation"]


def test_curves_name_their_backbone():
    (axes,) = draw_curves(trained_for(3), "loss", "resnet18").axes
    assert axes.get_title("left") == "Loss, resnet18"


def test_reliability_shows_the_bins_of_the_headline_subset_alone():
    (axes,) = draw_reliability(BOTH, 0.95).axes
    found = bin_reliability(BOTH[BOTH["subset"] == "test"], 0.95)
    points = next(line for line in axes.lines if line.get_marker() == "o")
    np.testing.assert_allclose(points.get_xdata(), found["mean_probability"])
    np.testing.assert_allclose(points.get_ydata(), found["share_of_fakes"])
    bars = [path.vertices[:, 1] for path in axes.collections[0].get_paths()]
    np.testing.assert_allclose(bars, found[["low", "high"]])


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_histogram_holds_every_score_of_its_class_and_the_threshold(temperature):
    (axes,) = draw_scores(BOTH, 0.8, temperature).axes
    test = BOTH[BOTH["subset"] == "test"]
    edges = [bar.get_x() for bar in axes.containers[0]]
    for bars, label, sign in zip(axes.containers, (1, 0), (1, -1), strict=True):
        scores = np.clip(test.loc[test["label"] == label, "logit"] / temperature, -7, 7)
        counts = np.histogram(scores, [*edges, 7.0])[0]
        heights = [sign * bar.get_height() for bar in bars]
        np.testing.assert_allclose(heights, counts / counts.sum())
    assert axes.get_xlim() == (-7, 7)
    line = next(line for line in axes.lines if line.get_gid() == "threshold")
    assert line.get_xdata()[0] == pytest.approx(np.log(0.8 / 0.2))


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.0, 1.5])
def test_every_threshold_tells_how_many_images_of_each_class_it_calls_fake(threshold):
    test = predict_at_random("test", 300)
    test["predicted"] = (test["fake_probability"] >= threshold).astype(int)
    told = list_thresholds(test, threshold, 1.0)
    assert (told["fakes"], told["real"]) == (200, 100)
    called = test[test["predicted"] == 1]["label"]
    assert told["steps"][told["own"]][2:] == [(called == 1).sum(), (called == 0).sum()]
    assert told["steps"][told["own"]][0] == threshold
    fakes = test.loc[test["label"] == 1, "fake_probability"]
    for at, place, detected, _ in told["steps"][1:-1]:
        if at != threshold:
            # the step itself is told with four digits
            near = [(fakes >= at * factor).sum() for factor in (1.001, 0.999)]
            assert near[0] <= detected <= near[1]
        assert 0 <= place <= 1
    rest = [step for step in told["steps"] if step[0] != threshold]
    assert all((np.diff([step[at] for step in rest]) <= 0).all() for at in (2, 3))
