"""Figures, words and settings as pages show them."""

import io
import re
from importlib.resources import files

import matplotlib as mpl
import matplotlib.pyplot as plt
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from page_elements import Elements

from deepfake_detection.reports.embedded_figures import describe_figure, embed_figure
from deepfake_detection.reports.settings import flatten_settings
from deepfake_detection.reports.style import PAGE_COLOURS, drawing, finished
from deepfake_detection.reports.words import printable, shortened, wrapped

HOSTILE = "--><script>alert(1)</script>"


def draw(title="A title"):
    with drawing():
        figure = Figure()
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.plot([1, 2], [3, 4], color="#0072B2", label="a line")
        axes.legend()
        return finished(figure)


def test_a_figure_is_one_element_that_takes_its_neutral_colours_from_the_page():
    embedded = embed_figure("A name", "what it shows", draw())
    assert embedded == embed_figure("A name", "what it shows", draw())
    svg = embedded.svg
    assert svg.startswith('<svg role="img" aria-label="what it shows"')
    assert not [colour for colour in PAGE_COLOURS if colour in svg.lower()]
    assert {"var(--ink)", "var(--quiet)", "var(--line)"} <= set(re.findall(r"var\(.*?\)", svg))
    assert "#0072b2" in svg
    ids = set(re.findall(r'\bid="(.*?)"', svg))
    assert all(each.startswith("a-name-") for each in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', svg)) <= ids


def test_the_style_and_the_page_have_the_same_neutral_colours():
    page = files("deepfake_detection.reports").joinpath("templates/page.css").read_text("utf-8")
    light = page.split("@media")[0]
    dark = page.split("prefers-color-scheme: dark")[1].split("*, *::before")[0]
    for colour, variable in PAGE_COLOURS.items():
        assert f"{variable}: {colour};" in light
        assert f"{variable}: " in dark


def test_a_figure_holds_no_text_and_nothing_that_a_page_may_not_load():
    page = Elements(str(embed_figure("A name", HOSTILE, draw(HOSTILE)).svg))
    assert not {"script", "style", "metadata", "a"} & set(page.names)
    assert page.values("svg", "aria-label") == [HOSTILE]
    assert not page.words.strip()
    assert "http" not in str(page.attributes)


def test_a_figure_is_described_by_its_own_words_and_its_title_does_not_touch_the_edge():
    figure = draw()
    assert describe_figure(figure) == "A title. a line"
    axes = figure.axes[0]
    assert figure.bbox.y1 - axes._left_title.get_window_extent().y1 > 8
    assert axes.title.get_window_extent().x0 >= 0


def test_figures_look_the_same_saved_outside_the_style_and_leave_nothing_behind():
    before, windows = mpl.rcParams.copy(), plt.get_fignums()
    outside, inside = io.BytesIO(), io.BytesIO()
    draw().savefig(outside)
    with drawing():
        draw().savefig(inside)
    assert inside.getvalue() == outside.getvalue()
    # the backend is only looked up when it is first asked for, by whomever
    assert {**mpl.rcParams, "backend": None} == {**before, "backend": None}
    assert plt.get_fignums() == windows


@given(st.text(), st.integers(1, 40), st.integers(1, 4))
def test_names_are_cut_to_their_room_and_never_invisible(text, width, lines):
    clean = printable(text)
    assert clean.isprintable()
    assert len(shortened(clean, width)) <= width
    broken = wrapped(clean, width, lines).split("\n")
    assert len(broken) <= lines
    assert all(len(line) <= width for line in broken)
    if len(clean) <= width * lines:
        assert "".join(broken) == clean


def test_settings_are_flattened_into_blocks():
    training = {"optimizer": {"betas": [0.9, 0.999]}, "weights": None, "shuffle": True}
    classes = {"a.b": "real"}
    settings = {"model": "vgg16", "empty": {}, "classes": classes, "training": training}
    assert flatten_settings(settings) == {
        "": [("model", "vgg16"), ("empty", "none")],
        "classes": [("a.b", "real")],
        "training": [("optimizer.betas", "0.9, 0.999"), ("weights", "none"), ("shuffle", "true")],
    }
