import io
from collections.abc import Callable

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from kedro_datasets.matplotlib import MatplotlibDataset
from matplotlib.figure import Figure
from matplotlib.text import Text
from reporting_samples import predict, predict_at_random, trained_for
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    precision_score,
    recall_score,
    roc_auc_score,
)

from deepfake_detection.pipelines.reporting.figures import (
    confusion_counts,
    draw_accuracy,
    draw_confusion_matrix,
    draw_loss,
    draw_precision_recall,
    draw_roc,
)
from deepfake_detection.pipelines.reporting.reliability import draw_reliability
from deepfake_detection.reports.curves import best_row
from deepfake_detection.reports.style import COLOURS, drawing

ONLY_FAKES = predict("test", [("fake/1.png", 1, 2.0), ("fake/2.png", 1, -1.0)])
BOTH = pd.concat([predict_at_random("validation", 90), predict_at_random("test", 60, seed=1)])


def words_in(figure: Figure) -> str:
    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_text())


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def test_legend_of_the_roc_curve_holds_the_area_that_scikit_learn_finds():
    words = words_in(draw_roc(BOTH, 0.5))
    for subset, part in BOTH.groupby("subset"):
        assert f"{subset}: AUC {roc_auc_score(part['label'], part['logit']):.3f}" in words


def test_operating_point_stands_where_the_predictions_put_it():
    scored = predict_at_random("test", 300)
    (axes,) = draw_roc(scored, 0.5).axes
    points = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    rates = scored.groupby("label")["predicted"].mean()
    assert [(*point.get_xdata(), *point.get_ydata()) for point in points] == [(rates[0], rates[1])]


def test_legend_of_precision_holds_scikit_learns_average_and_what_guessing_gets():
    figure = draw_precision_recall(BOTH, 0.5)
    words = words_in(figure)
    for subset, part in BOTH.groupby("subset"):
        mean, share = average_precision_score(part["label"], part["logit"]), part["label"].mean()
        assert f"{subset}: AP {mean:.3f}, guessing {share:.3f}" in words
        level = [line for line in figure.axes[0].lines if set(line.get_ydata()) == {share}]
        assert COLOURS[str(subset)] in [line.get_color() for line in level]


def test_operating_point_of_precision_stands_where_the_predictions_put_it():
    scored = predict_at_random("test", 300)
    (axes,) = draw_precision_recall(scored, 0.5).axes
    points = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    label, predicted = scored["label"], scored["predicted"]
    expected = (recall_score(label, predicted), precision_score(label, predicted))
    assert [(*point.get_xdata(), *point.get_ydata()) for point in points] == [expected]


def test_detector_that_calls_nothing_fake_has_no_point_of_precision():
    scored = predict_at_random("test", 30).assign(predicted=0)
    (axes,) = draw_precision_recall(scored, 0.5).axes
    assert not [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]


def test_certain_scores_do_not_tie():
    rows = [(f"{label}/{i}.png", label, 800.0 + i) for i, label in enumerate([0, 0, 1, 1])]
    assert "AUC 1.000" in words_in(draw_roc(predict("test", rows), 0.5))
    assert "AP 1.000" in words_in(draw_precision_recall(predict("test", rows), 0.5))


@pytest.mark.parametrize(("draw", "named"), [(draw_roc, "AUC"), (draw_precision_recall, "AP")])
def test_subset_of_one_class_has_no_curve_and_the_figure_says_so(draw, named):
    assert "test: undefined, it holds only fake images" in words_in(draw(ONLY_FAKES, 0.5))
    beside = pd.concat([ONLY_FAKES, predict_at_random("validation", 30)])
    words = words_in(draw(beside, 0.5))
    assert "test: undefined" in words
    assert f"validation: {named}" in words


@pytest.mark.parametrize("seed", range(3))
def test_confusion_counts_are_those_of_scikit_learn(seed: int):
    scored = predict_at_random("test", 200, seed)
    counts = confusion_counts(scored)
    np.testing.assert_array_equal(counts, confusion_matrix(scored["label"], scored["predicted"]))
    words = words_in(draw_confusion_matrix(scored)).split(" | ")
    assert {str(count) for count in counts.ravel()} <= set(words)


def test_confusion_matrix_names_its_cells_and_shows_the_headline_subset_first():
    figure = draw_confusion_matrix(BOTH)
    assert [axes.get_title("left") for axes in figure.axes] == [
        "Confusion matrix, test",
        "Confusion matrix, validation",
    ]
    missed_only = predict("test", [("a/1.png", 1, -1.0), ("a/2.png", 1, -2.0), ("b/1.png", 0, 1.0)])
    words = words_in(draw_confusion_matrix(missed_only))
    assert "false negatives" in words
    assert "false positive |" in words
    assert "100.0 %" in words


def test_confusion_matrix_of_one_class():
    assert "none of this class" in words_in(draw_confusion_matrix(ONLY_FAKES))


@pytest.mark.parametrize(
    "draw",
    [
        draw_confusion_matrix,
        lambda scored: draw_roc(scored, 0.5),
        lambda scored: draw_precision_recall(scored, 0.5),
        lambda scored: draw_reliability(scored, 15, 0.95),
    ],
)
def test_nothing_scored(draw: Callable[[pd.DataFrame], Figure]):
    assert "No image was scored" in words_in(draw(BOTH.head(0)))


@pytest.mark.parametrize("draw", [draw_loss, draw_accuracy])
@pytest.mark.parametrize("epochs", [1, 2, 3, 20])
def test_epochs_are_whole_numbers_within_the_figure(draw: Callable[..., Figure], epochs: int):
    (axes,) = draw(trained_for(epochs)).axes
    low, high = axes.get_xlim()
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks
    assert all(tick == int(tick) for tick in ticks)
    assert low < 1
    assert high > epochs


def test_best_epoch_is_the_first_of_equals_and_marked():
    history = trained_for(5).assign(validation_accuracy=[0.5, 0.9, 0.7, 0.9, np.nan])
    best = best_row(history)
    assert best is not None
    assert best["epoch"] == 2
    assert "best epoch: 2" in words_in(draw_accuracy(history))


def test_history_without_an_epoch_or_without_finite_values():
    assert best_row(trained_for(0)) is None
    assert "No epoch" in words_in(draw_loss(trained_for(0)))
    broken = trained_for(3).assign(validation_loss=np.inf, validation_accuracy=np.nan)
    assert "best epoch" not in words_in(draw_loss(broken))


def test_a_subset_has_one_colour_everywhere():
    curves = [draw_loss(trained_for(3)), draw_accuracy(trained_for(3)), draw_roc(BOTH, 0.5)]
    for figure in curves:
        named = {line.get_label().split(":")[0]: line for line in figure.axes[0].lines}
        assert named["validation"].get_color() == COLOURS["validation"]


def test_figures_look_the_same_saved_outside_the_style_and_leave_nothing_behind():
    before, windows = mpl.rcParams.copy(), plt.get_fignums()
    outside = png(draw_loss(trained_for(3)))
    with drawing():
        assert png(draw_loss(trained_for(3))) == outside
    # the backend is only looked up when it is first asked for, by whomever
    assert {**mpl.rcParams, "backend": None} == {**before, "backend": None}
    assert plt.get_fignums() == windows


def test_same_table_makes_the_same_file():
    files = []
    for _ in range(2):
        buffer = io.BytesIO()
        with drawing():
            draw_roc(BOTH, 0.5).savefig(buffer, format="svg", metadata={"Date": None})
        files.append(buffer.getvalue())
    assert files[0] == files[1]


def test_catalog_can_save_a_figure(tmp_path):
    MatplotlibDataset(filepath=str(tmp_path / "roc.png")).save(draw_roc(BOTH, 0.5))
    assert (tmp_path / "roc.png").stat().st_size > 1000
