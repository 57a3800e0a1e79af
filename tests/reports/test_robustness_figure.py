"""The figure of the robustness sweep: what it shows, read back from the figure itself."""

import numpy as np
import pandas as pd

from deepfake_detection.reports.robustness_figure import draw_robustness
from deepfake_detection.reports.style import colour_of

NOTE = "These are generated faces, drawings made by this project."


def _table(strengths):
    rows = []
    for name, of_name in {"none": [0.0], **strengths}.items():
        for place, strength in enumerate(of_name, name != "none"):
            for metric, class_name in (("accuracy", None), ("recall", "fake"), ("recall", "real")):
                change = -0.05 * place if class_name == "fake" else -0.02 * place
                rows.append(
                    {
                        "subset": "test", "distortion": name, "strength": strength,
                        "metric": metric, "class_name": class_name, "value": 0.9 + change,
                        "difference": change if place else np.nan,
                        "difference_low": change - 0.04, "difference_high": change + 0.03,
                        "n": 1200, "note": None,
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


def test_a_panel_shows_the_change_of_both_recalls_from_mild_to_strong_around_a_zero_line():
    table = _table({"jpeg": [90, 50, 30], "blur": [1, 2]})
    figure = draw_robustness(table, NOTE)
    panels = _panels(figure)
    assert list(panels) == ["JPEG compression", "Gaussian blur"]
    axes = panels["JPEG compression"]
    assert _labels(axes) == ["90", "50", "30"]
    lines = {line.get_label(): line for line in axes.lines}
    jpeg = table[(table["distortion"] == "jpeg") & (table["metric"] == "recall")]
    named = (("fake", "recall of fakes"), ("real", "specificity"))
    for bars, (class_name, label) in zip(axes.collections, named, strict=True):
        rows = jpeg[jpeg["class_name"] == class_name]
        np.testing.assert_allclose(lines[label].get_ydata(), rows["difference"])
        assert lines[label].get_color() == colour_of(class_name)
        ends = [path.vertices[:, 1] for path in bars.get_paths()]
        np.testing.assert_allclose(ends, rows[["difference_low", "difference_high"]])
    assert [line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1] == [0]
    assert NOTE in _words(figure)
    assert "1,200 images of test" in _words(figure)
    low, high = panels["Gaussian blur"].get_ylim()
    # all intervals have room
    assert low < -0.05 * 3 - 0.04
    assert high > 0.1


def test_darker_and_brighter_are_apart_and_many_strengths_keep_room():
    brightness = [1.25, 0.75, 1.5, 0.5]
    table = _table({"brightness": brightness, "noise": [float(each) for each in range(1, 14)]})
    panels = _panels(draw_robustness(table, None))
    assert _labels(panels["Darker"]) == ["0.75", "0.5"]
    assert _labels(panels["Brighter"]) == ["1.25", "1.5"]
    labels = _labels(panels["Gaussian noise"])
    assert labels[-1] == "13"
    assert sum(map(bool, labels)) <= 7


def test_a_class_without_images_is_left_out_with_its_reason():
    table = _table({"jpeg": [50]})
    real = table["class_name"] == "real"
    table.loc[real, ["value", "difference", "difference_low", "difference_high"]] = np.nan
    table.loc[real, "note"] = "there are no real images"
    table.loc[table["metric"] == "accuracy", "note"] = "validation also chose the epoch"
    figure = draw_robustness(table, None)
    words = _words(figure)
    assert "there are no real images" in words
    assert "alidation also chose the epoch" in words
    labels = [line.get_label() for line in _panels(figure)["JPEG compression"].lines]
    assert "specificity" not in labels
    assert "recall of fakes" in labels


def test_without_any_distortion_there_is_a_message():
    figure = draw_robustness(_table({}), NOTE)
    assert [bool(text.get_text()) for text in figure.axes[0].texts] == [True]
