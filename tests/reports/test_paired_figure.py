"""The figure of paired_comparison: what it shows, read back from the figure itself."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color

from deepfake_detection.reports.paired_figure import draw_pairs
from deepfake_detection.reports.style import colour_of

METRICS = {"roc_auc": "ROC AUC", "accuracy": "accuracy"}


def _row(metric, difference, p_holm, **changes):
    return {
        "detector": "one", "other_detector": "two", "metric": metric, "subset": "test",
        "level": "image", "difference": difference, "low": difference - 0.02,
        "high": difference + 0.03, "p_holm": p_holm, "n": 1200, "note": None,
    } | changes  # fmt: skip


def _points(figure):
    """Of each colour: where its points are, and whether they are filled."""
    axes = figure.axes[0]
    found = {}
    for line in axes.lines:
        if line.get_marker() == "o":
            name = next(name for name in METRICS.values() if same_color(
                line.get_color(), colour_of(name)))  # fmt: skip
            filled = same_color(line.get_markerfacecolor(), line.get_color())
            found.setdefault(name, []).append((line.get_xdata()[0], filled))
    return found


def test_each_pair_has_a_row_around_zero_and_only_what_differs_is_filled():
    other = {"other_detector": "three"}
    table = pd.DataFrame(
        [
            _row("roc_auc", -0.05, 0.01), _row("accuracy", 0.01, 0.4),
            _row("roc_auc", 0.02, 0.051, **other), _row("accuracy", 0.0, np.nan, low=np.nan,
                                                        high=np.nan, **other),
            # none of these is drawn
            _row("recall", 0.3, 0.0), _row("roc_auc", 0.4, 0.0, level="source"),
            _row("accuracy", 0.4, 0.0, subset="validation"),
        ]
    )  # fmt: skip
    figure = draw_pairs(table, 0.95, "only drawings")
    axes = figure.axes[0]
    assert _points(figure) == {
        "ROC AUC": [(-0.05, True), (0.02, False)], "accuracy": [(0.01, False), (0.0, False)],
    }  # fmt: skip
    named = {text.get_text(): text.get_weight() for text in axes.texts}
    assert named == {"one minus two": "bold", "one minus three": "normal"}
    low, high = axes.get_xlim()
    assert low < -0.07
    assert high > 0.05
    assert [0, 0] in [list(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 2]
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert any("2 pairs" in each for each in said)
    assert "only drawings" in figure.get_supxlabel()
    assert "1,200 images of test" in figure.get_supxlabel()


@pytest.mark.parametrize("columns", [None, {"difference": np.nan}])
def test_without_a_difference_the_figure_says_so(columns):
    table = pd.DataFrame([_row("roc_auc", 0.1, 0.1)])
    table = table[:0] if columns is None else table.assign(**columns)
    axes = draw_pairs(table, 0.95, None).axes[0]
    assert not axes.lines
    assert axes.texts
