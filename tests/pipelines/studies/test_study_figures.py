from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from page_elements import words_in
from study_samples import BASE, comparison, fine_tuning, folds, schedules

from deepfake_detection.pipelines.studies.curves import (
    draw_comparisons,
    draw_curves,
    scale_accuracies,
)
from deepfake_detection.pipelines.studies.scores import draw_inflation, draw_scores
from deepfake_detection.reports.curves import spread_apart
from deepfake_detection.reports.style import COLOURS

BEST = "best_validation_accuracy"


def draw_all(results):
    figures = [draw_curves(results, quantity) for quantity in ("accuracy", "loss")]
    figures += [draw_comparisons(results), draw_scores(results)]
    return figures + ([] if results.inflation is None else [draw_inflation(results.inflation)])


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def lines(axes, label):
    return [line for line in axes.lines if str(line.get_label()).startswith(label)]


def points(axes):
    return [(*line.get_xdata(), line.get_marker()) for line in axes.lines]


@pytest.fixture(scope="module")
def repeated():
    return fine_tuning(epochs=6, rows=2, seeds=[0, 1, 2], test=True)


def test_each_row_has_a_panel_with_its_history_and_its_best_epoch_marked():
    results = schedules(epochs=6)
    panels = panels_of(draw_curves(results, "accuracy"))
    assert [axes.get_title("left") for axes in panels] == list(results.table["title"])
    for axes, (run, history) in zip(panels, results.histories.items(), strict=True):
        for subset in ("train", "validation"):
            (line,) = lines(axes, subset)
            np.testing.assert_array_equal(line.get_ydata(), history[f"{subset}_accuracy"])
            assert line.get_color() == COLOURS[subset]
        (mark,) = lines(axes, "epoch that was kept")
        best = results.table.set_index("run").loc[run]
        assert mark.get_xdata() == [best["best_epoch"]]
        assert mark.get_ydata() == [best[BEST]]
    assert len({axes.get_ylim() for axes in panels}) == 1
    # the loss marks the epoch that accuracy chose
    panels = panels_of(draw_curves(results, "loss"))
    for axes, history in zip(panels, results.histories.values(), strict=True):
        (mark,) = lines(axes, "epoch that was kept")
        losses = history.set_index("epoch")["validation_loss"]
        assert mark.get_ydata() == [losses[mark.get_xdata()[0]]]


def test_all_runs_of_a_row_stand_in_its_panel(repeated):
    panels = panels_of(draw_curves(repeated, "accuracy"))
    assert [len(lines(axes, "validation")) for axes in panels] == [3, 3]
    mean = repeated.rows[0][2][BEST].mean()
    assert f"{mean:.4f}" in words_in(panels[0])


def test_a_grid_is_compared_axis_by_axis_for_each_label_of_the_first():
    results = comparison(epochs=3)
    panels = panels_of(draw_comparisons(results))
    titles = [axes.get_title("left").replace("\n", " ") for axes in panels]
    assert titles == [
        f"{backbone}, {fixed}"
        for fixed in ("individual split", "group split", "80 : 20", "70 : 30")
        for backbone in ("resnet18", "vgg16", "inception_v3")
    ]
    for method in ("individual", "group"):
        (line,) = lines(panels[10], f"{method} split")
        history = results.histories[f"vgg16_r70_{method}"]
        np.testing.assert_array_equal(line.get_ydata(), history["validation_accuracy"])
        assert line.get_color() == COLOURS[method]
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_few_rows_stand_in_one_panel_and_many_each_among_the_others():
    (axes,) = panels_of(draw_comparisons(schedules(epochs=4)))
    titles = [row["title"] for row in BASE["lr_schedules"].values() if "title" in row]
    assert [line.get_label() for line in axes.lines] == titles
    for look in ("get_color", "get_marker"):
        assert len({str(getattr(line, look)()) for line in axes.lines}) == 4
    assert not {line.get_color() for line in axes.lines} & set(COLOURS.values())
    results = fine_tuning(epochs=3, rows=7)
    panels = panels_of(draw_comparisons(results))
    for axes, history in zip(panels, results.histories.values(), strict=True):
        (line,) = lines(axes, "this row")
        np.testing.assert_array_equal(line.get_ydata(), history["validation_accuracy"])
        assert len(axes.lines) == len(panels) == 7


def test_lines_are_named_at_their_ends_in_the_last_panel_beside_each_other():
    results = schedules(epochs=4, **dict.fromkeys("abcdef", "One of many lines that end together"))
    figure = draw_comparisons(results)
    (axes,) = panels_of(figure)
    assert not figure.legends
    names = [text for text in axes.texts if text.get_text()]
    assert [name.xy[1] for name in names] == [line.get_ydata()[-1] for line in axes.lines]
    boxes = [Text.get_window_extent(name) for name in names]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    edge = axes.get_window_extent()
    assert all(edge.x1 < box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    panels = panels_of(draw_comparisons(comparison(epochs=2)))
    named = [place for place, axes in enumerate(panels) if len(axes.texts) > 1]
    assert named == [2, 5, 8, 11]
    assert "group split" in words_in(panels[11])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.15)), max_size=6))
def test_places_are_spread_within_bounds_and_moved_only_where_they_overlap(boxes):
    wanted, heights = (np.array([box[side] for box in boxes]) for side in (0, 1))
    found = spread_apart(wanted, heights)
    low, high = found - heights / 2, found + heights / 2
    assert all(low > -1e-9)
    assert all(high < 1 + 1e-9)
    order = np.argsort(found)
    assert all(high[order][:-1] <= low[order][1:] + 1e-9)
    again = spread_apart(found, heights)
    np.testing.assert_allclose(again, found, atol=1e-9)


def test_scores_stand_where_the_table_puts_them():
    results = fine_tuning(epochs=6, rows=3)
    # one image differs between training and scoring
    results.table["accuracy"] -= 0.001
    figure = draw_scores(results)
    (axes,) = figure.axes
    for _, run in results.table.iterrows():
        assert (run[BEST], "o") in points(axes)
        assert (run["published_validation_accuracy"], "D") in points(axes)
        assert (run[f"{BEST}_low"], run[f"{BEST}_high"], "None") in points(axes)
        apart = 100 * (run[BEST] - run["published_validation_accuracy"])
        assert f"{apart:+.2f} points".replace("-", "−") in words_in(figure)
    assert f"{results.table[BEST][0]:.4f}" in words_in(figure)
    assert "chosen" in words_in(figure)


def test_several_runs_are_small_dots_and_their_mean_a_large_one(repeated):
    (axes,) = draw_scores(repeated).axes
    runs = repeated.rows[0][2]
    for column, marker in ((BEST, "o"), ("accuracy", "s")):
        dots = [line for line in axes.lines if line.get_marker() == marker]
        np.testing.assert_array_equal(dots[0].get_xdata(), runs[column])
        assert dots[1].get_xdata() == [runs[column].mean()]
        assert dots[1].get_markersize() > dots[0].get_markersize()


def test_folds_stand_in_one_panel_and_show_their_accuracy_together_with_its_interval():
    results = folds(epochs=3)
    (panel,) = panels_of(draw_curves(results, "accuracy"))
    assert len(lines(panel, "validation")) == 5
    line = results.summary.set_index("metric").loc["accuracy"]
    (axes,) = draw_scores(results).axes
    assert (line["all_folds"], "X") in points(axes)
    assert (line["all_folds_low"], line["all_folds_high"], "None") in points(axes)


def test_inflation_joins_both_scores_and_is_written_beside():
    results = comparison(epochs=3, seeds=[0, 1])
    panels = panels_of(draw_inflation(results.inflation))
    # a line and two ends for each of six pairs
    assert [len(axes.lines) for axes in panels] == [18, 18]
    first = results.inflation.iloc[0]
    inflation = f"{first['inflation']:+.3f} ± {first['standard_deviation']:.3f}"
    assert inflation in words_in(panels[0])
    drawn = [list(line.get_xdata()) for line in panels[0].lines]
    assert [first["group"], first["individual"]] in drawn


@pytest.mark.filterwarnings("error")
def test_undefined_scores_are_told_in_words():
    results = schedules(epochs=3)
    for history in results.histories.values():
        history.loc[:, history.columns != "epoch"] = np.nan
    results.table[results.table.select_dtypes("float").columns] = np.nan
    for figure in draw_all(results):
        (axes,) = figure.axes
        assert not axes.lines
        assert axes.texts[0].get_text()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("results", [fine_tuning(epochs=1, rows=1), comparison(epochs=1)])
def test_one_epoch_is_drawn(results):
    assert all(panels_of(figure) for figure in draw_all(results))


def test_no_tick_lies_above_an_accuracy_of_one():
    results = schedules(epochs=3)
    for history in results.histories.values():
        history[["train_accuracy", "validation_accuracy"]] = 1.0
    results.table[[BEST, f"{BEST}_low", f"{BEST}_high"]] = 1.0
    curves, scores = draw_curves(results, "accuracy"), draw_scores(results)
    for axis in (curves.axes[0].yaxis, scores.axes[0].xaxis):
        low, high = axis.get_view_interval()
        assert all(tick <= 1 + 1e-9 for tick in axis.get_ticklocs() if low <= tick <= high)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.lists(st.floats(0, 1), max_size=20))
def test_accuracy_axes_hold_all_that_is_needed_and_waste_little(needed, others):
    values = np.array(needed + others)
    axes = Figure().add_subplot()
    cut = scale_accuracies(axes, values, np.array(needed))
    low, high = axes.get_ylim()
    assert low < min(needed)
    assert high > max(needed)
    assert cut == (values.min() < low)
    assert high - low <= 3 * max(values.max() - min(needed), 0.02)


def test_long_titles_stay_within_their_panels():
    titles = {name: "Wide name <i>" * 20 + name for name in "abcd"}
    figure = draw_curves(schedules(epochs=2, **titles), "accuracy")
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [
        text.get_window_extent(renderer)
        for axes in panels_of(figure)
        for text in axes.findobj(Text)
        if text.get_text() == axes.get_title("left")
    ]
    assert boxes[0].x1 < boxes[1].x0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1
