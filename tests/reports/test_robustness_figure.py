"""The figure of the robustness sweep: what it shows, read back from the figure itself."""

import numpy as np
import pandas as pd
import pytest

from deepfake_detection.reports.robustness_figure import draw_robustness
from deepfake_detection.reports.style import colour_of

NOTE = "These are generated faces, drawings made by this project."


def _table(strengths):
    rows = []
    for name, of_name in {"none": [0.0], **strengths}.items():
        for place, strength in enumerate(of_name):
            for metric, value in (("accuracy", 0.9), ("roc_auc", 0.95), ("recall", 0.1)):
                fallen = value - 0.05 * place
                rows.append(
                    {
                        "subset": "test", "distortion": name, "strength": strength,
                        "metric": metric, "value": fallen, "low": fallen - 0.1,
                        "high": fallen + 0.04, "n": 1200, "note": None,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def _panels(figure):
    return {axes.get_title("left"): axes for axes in figure.axes if axes.get_visible()}


def _words(figure):
    legend = [text.get_text() for each in figure.legends for text in each.get_texts()]
    said = [text.get_text() for text in figure.texts]
    return " ".join(" ".join([*legend, *said, figure.get_supxlabel()]).split())


def _labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_a_panel_goes_from_the_undistorted_picture_to_the_strongest():
    table = _table({"jpeg": [90, 50, 30], "blur": [1, 2]})
    figure = draw_robustness(table, NOTE)
    panels = _panels(figure)
    assert list(panels) == ["JPEG compression", "Gaussian blur"]
    assert _labels(panels["JPEG compression"]) == ["none", "90", "50", "30"]
    lines = {line.get_label(): line for line in panels["JPEG compression"].lines}
    for label, metric in (("ROC AUC", "roc_auc"), ("accuracy", "accuracy")):
        jpeg = table[table["distortion"].isin(["none", "jpeg"]) & (table["metric"] == metric)]
        np.testing.assert_allclose(lines[label].get_ydata(), jpeg["value"])
        assert lines[label].get_color() == colour_of(label)
    assert set(lines["guessing (ROC AUC 0.5)"].get_ydata()) == {0.5}
    assert NOTE in _words(figure)
    assert "1,200 images of test" in _words(figure)
    spans = [each.get_paths()[0].get_extents() for each in panels["Gaussian blur"].collections]
    # of ROC AUC, then of accuracy: from the strongest's low end to the undistorted one's high end
    assert [(span.y0, span.y1) for span in spans] == [
        (pytest.approx(0.8), pytest.approx(0.99)), (pytest.approx(0.75), pytest.approx(0.94)),
    ]  # fmt: skip
    low, high = panels["Gaussian blur"].get_ylim()
    assert low < 0.5
    assert high > 1


def test_darker_and_brighter_are_apart_and_many_strengths_keep_room():
    brightness = [1.25, 0.75, 1.5, 0.5]
    table = _table({"brightness": brightness, "noise": [float(each) for each in range(1, 14)]})
    panels = _panels(draw_robustness(table, None))
    assert _labels(panels["Darker"]) == ["none", "0.75", "0.5"]
    assert _labels(panels["Brighter"]) == ["none", "1.25", "1.5"]
    labels = _labels(panels["Gaussian noise"])
    assert labels[-1] == "13"
    assert sum(map(bool, labels)) <= 7


def test_an_area_that_is_undefined_is_left_out_with_its_reason():
    table = _table({"jpeg": [50]})
    areas = table["metric"] == "roc_auc"
    table.loc[areas, ["value", "low", "high"]] = np.nan
    table.loc[areas, "note"] = "all are fake"
    table.loc[table["metric"] == "accuracy", "note"] = "validation also chose the epoch"
    figure = draw_robustness(table, None)
    words = _words(figure)
    assert "all are fake" in words
    assert "alidation also chose the epoch" in words
    labels = [line.get_label() for line in _panels(figure)["JPEG compression"].lines]
    assert "ROC AUC" not in labels
    assert "accuracy" in labels


def test_without_any_distortion_there_is_a_message():
    figure = draw_robustness(_table({}), NOTE)
    assert [bool(text.get_text()) for text in figure.axes[0].texts] == [True]
