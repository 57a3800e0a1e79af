import dataclasses
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from study_samples import comparison, fine_tuning, folds, schedules

from deepfake_detection.pipelines.studies.columns import result_columns
from deepfake_detection.pipelines.studies.figures import (
    draw_comparisons,
    draw_curves,
    draw_inflation,
    draw_losses,
    draw_scores,
)
from deepfake_detection.pipelines.studies.figures.limits import accuracy_limits
from deepfake_detection.pipelines.studies.figures.looks import look_of
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.reports.style import COLOURS
from deepfake_detection.reports.words import folded

DRAWINGS = [draw_curves, draw_losses, draw_comparisons, draw_scores, draw_inflation]


def words_in(drawn: Figure | Axes) -> str:
    return " | ".join(text.get_text() for text in drawn.findobj(Text) if text.get_text())


def panels_of(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_visible()]


def lines(axes: Axes, label: str) -> list:
    return [line for line in axes.lines if line.get_label() == label]


@pytest.fixture(scope="module")
def repeated() -> StudyResults:
    return fine_tuning(epochs=6, seeds=3, rows=2, subset="test")


def test_each_row_has_a_panel_with_its_history_and_its_best_epoch_marked():
    results = schedules(epochs=6)
    panels = panels_of(draw_curves(results))
    assert [axes.get_title("left") for axes in panels] == list(results.table["title"])
    for axes, (run, history) in zip(panels, results.histories.items(), strict=True):
        for subset in ("train", "validation"):
            (line,) = lines(axes, subset)
            np.testing.assert_array_equal(line.get_ydata(), history[f"{subset}_accuracy"])
            assert line.get_color() == COLOURS[subset]
        (mark,) = lines(axes, "best epoch")
        best = results.table.set_index("run").loc[run]
        assert mark.get_xdata() == [best["best_epoch"]]
        assert mark.get_ydata() == [best["best_validation_accuracy"]]
    assert len({axes.get_ylim() for axes in panels}) == 1


def test_losses_mark_the_epoch_that_accuracy_chose():
    results = schedules(epochs=6)
    for axes, run in zip(panels_of(draw_losses(results)), results.table["run"], strict=True):
        (mark,) = lines(axes, "best epoch")
        history = results.histories[run].set_index("epoch")
        assert mark.get_ydata() == [history["validation_loss"][mark.get_xdata()[0]]]


def test_all_seeds_of_a_row_stand_in_its_panel(repeated: StudyResults):
    panels = panels_of(draw_curves(repeated))
    assert len(panels) == 2
    assert all(len(lines(axes, "validation")) == 3 for axes in panels)
    mean = repeated.rows()[0][1]["best_validation_accuracy"].mean()
    assert f"best {mean:.4f}, mean of 3" in words_in(panels[0])
    (panel,) = panels_of(draw_curves(folds(epochs=3)))
    assert len(lines(panel, "validation")) == 5


def test_grid_is_compared_axis_by_axis_beside_each_label_of_the_first():
    results = comparison(epochs=3)
    figure = draw_comparisons(results)
    panels = panels_of(figure)
    assert len(panels) == 12
    headings = [axes.get_title("left") for axes in panels[::3]]
    assert headings == [
        "By ratio, individual split",
        "By ratio, group split",
        "By method, 80 : 20",
        "By method, 70 : 30",
    ]
    for axes, backbone in zip(panels, results.axes["backbone"] * 4, strict=True):
        assert backbone in words_in(axes).split(" | ")
    # the panel of vgg16 in the last row
    for method in ("individual", "group"):
        (line,) = lines(panels[10], f"{method} split")
        history = results.histories[f"vgg16_70_{method}"]
        np.testing.assert_array_equal(line.get_ydata(), history["validation_accuracy"])
        assert line.get_color() == COLOURS[method]
    for row in range(4):
        assert len({axes.get_ylim() for axes in panels[3 * row : 3 * row + 3]}) == 1


def test_grid_of_one_axis_and_few_rows_stand_in_one_panel():
    (axes,) = panels_of(draw_comparisons(schedules(epochs=4)))
    assert [line.get_label() for line in axes.lines] == ["none", "step", "exponential", "cosine"]
    results = comparison(epochs=2)
    alone = (results.table["axis.ratio"] == "80") & (results.table["axis.method"] == "group")
    one_axis = dataclasses.replace(
        results, table=results.table[alone], axes={"backbone": results.axes["backbone"]}
    )
    (axes,) = panels_of(draw_comparisons(one_axis))
    assert len(axes.lines) == 3


def test_many_rows_each_have_a_panel_among_the_others():
    results = fine_tuning(epochs=3, rows=7)
    panels = panels_of(draw_comparisons(results))
    assert len(panels) == 7
    for axes, run in zip(panels, results.table["run"], strict=True):
        (line,) = lines(axes, "this row")
        accuracy = results.histories[run]["validation_accuracy"]
        np.testing.assert_array_equal(line.get_ydata(), accuracy)
        assert len(axes.lines) == 7


def test_scores_stand_where_the_table_puts_them():
    results = fine_tuning(epochs=6, rows=3)
    (axes,) = draw_scores(results).axes
    points = [(*line.get_xdata(), line.get_marker()) for line in axes.lines]
    for _, run in results.table.iterrows():
        assert (run["best_validation_accuracy"], "o") in points
        assert (run["published_validation_accuracy"], "D") in points
        assert (run["accuracy_low"], run["accuracy_high"], "None") in points
    words = words_in(draw_scores(results))
    assert "0.99: counts as overfit" in words
    assert f"{results.table['best_validation_accuracy'][0]:.4f}" in words
    assert "chosen" in words


def test_several_runs_are_small_dots_and_their_mean_a_large_one(repeated: StudyResults):
    (axes,) = draw_scores(repeated).axes
    for subset, column, marker in (
        ("validation", "best_validation_accuracy", "o"),
        ("test", "accuracy", "s"),
    ):
        dots = [
            line
            for line in axes.lines
            if line.get_marker() == marker and line.get_color() == COLOURS[subset]
        ]
        runs = repeated.rows()[0][1][column]
        np.testing.assert_array_equal(dots[0].get_xdata(), runs)
        assert dots[1].get_xdata() == [runs.mean()]
        assert dots[1].get_markersize() > dots[0].get_markersize()


def test_folds_show_their_pooled_accuracy_with_its_interval():
    results = folds(epochs=3)
    pooled = results.summary.set_index("metric").loc["accuracy"]
    (axes,) = draw_scores(results).axes
    drawn = [list(line.get_xdata()) for line in axes.lines]
    assert [pooled["pooled"]] in drawn
    assert [pooled["pooled_low"], pooled["pooled_high"]] in drawn


def test_inflation_joins_both_scores_and_is_written_beside():
    results = comparison(epochs=3, seeds=2)
    panels = panels_of(draw_inflation(results))
    metrics = ["Validation accuracy", "ROC AUC, test"]
    assert [axes.get_xlabel() for axes in panels] == metrics
    # a line and two ends for each of six pairs
    assert [len(axes.lines) for axes in panels] == [18, 18]
    first = results.inflation.iloc[0]
    assert f"+{first['inflation']:.3f} ± 0.011" in words_in(panels[0])
    drawn = [list(line.get_xdata()) for line in panels[0].lines]
    assert [first["group"], first["individual"]] in drawn


def undefined() -> StudyResults:
    results = schedules(epochs=3)
    for history in results.histories.values():
        history.loc[:, history.columns != "epoch"] = np.nan
    numbers = results.table.select_dtypes("float").columns
    results.table[numbers] = np.nan
    return results


def certain() -> StudyResults:
    results = schedules(epochs=3)
    for history in results.histories.values():
        history[["train_accuracy", "validation_accuracy"]] = 1.0
    results.table[["accuracy", "accuracy_low", "accuracy_high"]] = 1.0
    results.table["best_validation_accuracy"] = 1.0
    return results


@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.filterwarnings("error")
def test_undefined_scores_are_told_in_words(draw):
    assert any(said in words_in(draw(undefined())) for said in ("No epoch", "No run", "No two"))


@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.filterwarnings("error")
def test_one_row_of_one_epoch_and_no_trained_epoch_are_drawn(draw):
    draw(fine_tuning(epochs=1, rows=1))
    results = fine_tuning(epochs=1, rows=1)
    empty = {run: history.head(0) for run, history in results.histories.items()}
    draw(dataclasses.replace(results, histories=empty))


def test_no_tick_lies_above_an_accuracy_of_one():
    results = certain()
    ticks = [axes.yaxis.get_ticklocs() for axes in draw_curves(results).axes]
    ticks += [axes.xaxis.get_ticklocs() for axes in draw_scores(results).axes]
    assert max(np.concatenate(ticks)) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.lists(st.floats(0, 1), max_size=20))
def test_accuracy_axes_hold_all_that_is_needed_and_waste_little(needed, others):
    values = np.array(needed + others)
    low, high = accuracy_limits(values, np.array(needed))
    assert low < min(needed)
    assert high > max(needed)
    span = max(values.max() - min(needed), 0.02)
    assert high - low <= 3 * span


def test_lines_that_are_compared_differ_in_colour_dashes_and_marker():
    labels = ["80", "70", "60", "90"]
    looks = [look_of(label, labels) for label in labels]
    for ours in ("colour", "dashes", "marker"):
        assert len({getattr(look, ours) for look in looks}) == 4
    assert not {look.colour for look in looks} & set(COLOURS.values())
    assert look_of("group", ["individual", "group"]).colour == COLOURS["group"]


def test_long_titles_stay_within_their_panels():
    results = schedules(epochs=2, titles={name: "W<i>" * 50 + name for name in "abcd"})
    figure = draw_curves(results)
    panels = panels_of(figure)
    renderer = FigureCanvasAgg(figure).get_renderer()
    titles = [
        next(text for text in axes.findobj(Text) if text.get_text() == axes.get_title("left"))
        for axes in panels
    ]
    boxes = [title.get_window_extent(renderer) for title in titles]
    for left, right in pairwise(boxes[:2]):
        assert left.x1 < right.x0
    assert max(box.x1 for box in boxes) <= figure.bbox.x1


def test_text_is_folded_between_words_and_shortened_in_the_middle():
    assert folded("Baseline + L2 (1e-3) + StepLR + lr 0.005", 36, 3) == (
        "Baseline + L2 (1e-3)\n+ StepLR + lr 0.005"
    )
    assert folded("inception_v3, 80 : 20, group", 20, 2) == "inception_v3,\n80 : 20, group"
    shortened = folded("word " * 60, 20, 2)
    assert "…" in shortened
    assert all(len(line) <= 20 for line in shortened.split("\n"))
    assert folded("", 20, 2) == ""
    assert folded("a\nb", 20, 2) == "a\\nb"


def test_table_out_of_order_keeps_scores_with_their_titles():
    results = fine_tuning(epochs=2, rows=3)
    turned = dataclasses.replace(results, table=results.table.iloc[::-1])
    panels = panels_of(draw_curves(turned))
    (line,) = lines(panels[0], "validation")
    last = results.histories[results.table["run"].iloc[-1]]
    pd.testing.assert_series_equal(
        pd.Series(line.get_ydata(), name="validation_accuracy"), last["validation_accuracy"]
    )


@pytest.mark.filterwarnings("error")
def test_missing_values_of_pandas_own_kinds_are_undefined_scores():
    results = fine_tuning(epochs=2, rows=2)
    table = results.table.convert_dtypes()
    table.loc[1, ["best_validation_accuracy", "accuracy", "best_epoch"]] = pd.NA
    histories = {run: history.convert_dtypes() for run, history in results.histories.items()}
    missing = dataclasses.replace(results, table=table, histories=histories)
    assert "no accuracy" in words_in(draw_curves(missing))
    cells = {column.name: column.cells for column in result_columns(missing)}
    assert [cell.value for cell in cells["Best epoch"]] == [f"{table['best_epoch'][0]}", "–"]
    draw_scores(missing)
