"""The report in a real browser, where one is installed: cases, threshold, contents, paper."""

import re
from base64 import b64decode

import pandas as pd
import pytest
from page_in_browser import (
    OVERFLOW,
    PHONE,
    find_barriers,
    find_stuck_folds,
    find_unreached,
    open_tab,
)
from reporting_samples import FILES, predict, predict_at_random, report_inputs

from deepfake_detection.pipelines.reporting.nodes import draw_figures, write_report

pytestmark = pytest.mark.browser

NAMES = (
    "fakes/<script>window.ran = 1;alert(1)<:script>.png",
    'fakes/"><img src=x onerror=window.ran=1>.png',
    "fakes/' onclick='window.ran=1" + "x" * 120 + ".png",
)
HOSTILE = predict("test", [(name, 1, -9.0 + place) for place, name in enumerate(NAMES)])
SCORED = pd.concat([HOSTILE, predict_at_random("test", 60)], ignore_index=True)

CASES = "document.querySelectorAll('.case button.tile')"
PATHS = "[...document.querySelectorAll('.case')].map(each => each.dataset.path)"
ENLARGED = "document.getElementById('enlarged').open"
SHOWN = "document.querySelector('#said .path').textContent"
HEAT_SHOWN = """[...document.querySelectorAll('.case .over')].filter(
  each => getComputedStyle(each).visibility === 'visible').length"""
MOVED = """["recall", "specificity", "precision", "cost"].map(
  each => document.getElementById("moved-" + each).textContent)"""

# whether every heat map stands at the right of its picture, and in sight
BESIDE = """[...document.querySelectorAll('.group .picture')].every(each => {
  const [picture, heat] = [each.querySelector('img'), each.querySelector('.over')].map(
    part => part.getBoundingClientRect());
  return heat.left >= picture.right - 1 && heat.width > 20 && Math.abs(heat.top - picture.top) < 1;
})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    given = report_inputs(folder, SCORED)
    names = ("training_history", "predictions", "robustness_table", "false_case_measures",
             "description", "evaluation")  # fmt: skip
    drawn = draw_figures(**{name: given[name] for name in names} | FILES)
    given["page_figures"] = drawn["page_figures"]
    (folder / "page.html").write_text(write_report(**given), encoding="utf-8")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(browser, page):
    browser.show(page)
    return browser


def move(tab, control, value):
    tab.tell(f"""{{
      const control = document.getElementById("{control}");
      control.value = {value};
      control.dispatchEvent(new Event("input", {{bubbles: true}}));
    }}""")


def test_the_page_is_small_but_for_its_pictures(page):
    written = page.read_text("utf-8")
    assert "<svg" in written
    assert len(re.sub(r"data:image/[^\"]+", "", written).encode()) < 3_000_000


def test_heat_maps_are_off_until_they_are_asked_for(tab):
    total = tab.tell("document.querySelectorAll('.case .over').length")
    everyone = "document.getElementById('all-heat')"
    assert tab.tell(HEAT_SHOWN) == 0
    for shown in (total, 0):
        tab.tell(f"{everyone}.click()")
        assert tab.tell(HEAT_SHOWN) == shown
        assert tab.tell(f"{everyone}.getAttribute('aria-pressed')") == str(shown > 0).lower()
    tab.tell(f"{CASES}[0].click()")
    over = "getComputedStyle(document.querySelector('#stage .over')).visibility"
    # it stays on for the next one
    for button, seen in (("one-heat", "visible"), ("next", "visible"), ("one-heat", "hidden")):
        tab.tell(f"document.getElementById('{button}').click()")
        assert tab.tell(over) == seen


def test_heat_map_lies_on_the_part_that_the_network_saw_and_is_framed(tab):
    tab.tell("document.getElementById('all-heat').click()")
    places = tab.tell("""[".cases .picture > img", ".cases .heat"].map(name => {
      const box = document.querySelector(name).getBoundingClientRect();
      return [box.x, box.y, box.width, box.height];
    })""")
    (x, y, width, height), heat = places
    assert width / height == pytest.approx(40 / 30, abs=0.02)
    seen = [x + 0.1 * width, y + 0.1 * height, 0.8 * width, 0.8 * height]
    assert heat == pytest.approx(seen, abs=0.5)
    frame = "getComputedStyle(document.querySelector('.cases .heat')).outlineStyle"
    assert tab.tell(frame) == "dashed"


def test_keys_enlarge_a_case_go_on_and_close(tab):
    paths = tab.tell(PATHS)
    tab.tell(f"{CASES}[0].focus()")
    tab.press("Enter", 13, "\r")
    assert tab.tell(ENLARGED)
    assert tab.tell(SHOWN) == paths[0]
    assert tab.tell("document.activeElement.id") == "close"
    tab.press("ArrowRight", 39)
    assert tab.tell(SHOWN) == paths[1]
    tab.press("ArrowLeft", 37)
    tab.press("ArrowLeft", 37)
    assert tab.tell(SHOWN) == paths[-1]
    said = tab.tell("document.getElementById('said').innerText")
    assert f"{len(paths)} of {len(paths)}" in said
    assert "source real/" in said
    assert tab.tell("document.querySelectorAll('#stage img').length") == 2
    tab.press("ArrowRight", 39)
    tab.press("Escape", 27)
    assert not tab.tell(ENLARGED)
    # who goes on with the keyboard goes on from there; the page hears of the end a moment later
    tab.wait_for(f"document.activeElement.closest('li')?.dataset.path === {paths[0]!r}")
    assert tab.complaints() == []


def test_a_picture_of_the_first_screen_opens_its_case(tab):
    first = "document.querySelectorAll('.first a')"
    assert tab.tell(f"{first}.length") == 6
    for place in (0, 5):
        wanted = tab.tell(f"document.querySelector({first}[{place}].hash).dataset.path")
        tab.tell(f"{first}[{place}].click()")
        assert tab.tell(SHOWN) == wanted
        tab.tell("document.getElementById('close').click()")


def test_the_threshold_moves_recall_specificity_cost_and_its_line(tab):
    assert tab.complaints() == []
    line = "document.getElementById('score-histogram-threshold').getBoundingClientRect().left"
    plot = "document.getElementById('score-histogram-plot').getBoundingClientRect()"
    fakes, real = (SCORED[SCORED["label"] == label]["logit"] for label in (1, 0))
    recall, specificity = (fakes >= 0).mean(), (real < 0).mean()

    def say(share):
        return f"{100 * share:.1f} %"

    assert tab.tell(MOVED)[:2] == [say(recall), say(specificity)]
    before = tab.tell(line)
    # the last step calls only scores from 0.999 on fake
    move(tab, "threshold", 10_000)
    assert tab.tell(MOVED)[:2] == [say((fakes >= 7).mean()), say((real < 7).mean())]
    assert tab.tell(line) == pytest.approx(tab.tell(f"{plot}.right"), abs=2)
    move(tab, "share", 50)
    move(tab, "threshold", 0)
    assert tab.tell(MOVED) == ["100.0 %", "0.0 %", "50.0 %", "500"]
    assert tab.tell(line) == pytest.approx(tab.tell(f"{plot}.left"), abs=2)
    # one image of a hundred is fake, and a fake that is missed costs as much as ten false alarms
    tab.tell("document.getElementById('own-threshold').click()")
    assert tab.tell(line) == pytest.approx(before)
    move(tab, "share", 1)
    move(tab, "cost-missed", 10)
    missed, alarms = 0.01 * (1 - recall), 0.99 * (1 - specificity)
    precision = 0.01 * recall / (0.01 * recall + alarms)
    cost = 1000 * (10 * missed + alarms)
    assert tab.tell(MOVED)[2:] == [say(precision), f"{cost:.0f}"]


def test_the_slider_is_moved_with_keys(tab):
    value = "Number(document.getElementById('threshold').value)"
    before = tab.tell(value)
    tab.tell("document.getElementById('threshold').focus()")
    tab.press("ArrowRight", 39)
    assert tab.tell(value) == before + 1
    spoken = "document.getElementById('threshold').getAttribute('aria-valuetext')"
    assert tab.tell(spoken) == tab.tell("document.getElementById('threshold-value').textContent")


def test_the_keyboard_alone_reaches_everything(tab):
    assert find_unreached(tab) == []
    assert find_stuck_folds(tab) == []


@pytest.mark.parametrize("width", [375, 1024, 1440])
def test_the_contents_stay_in_sight_and_lead_to_every_section(tab, width):
    tab.ask("Emulation.setDeviceMetricsOverride", **PHONE | {"width": width})
    tab.tell("document.getElementById('data').scrollIntoView()")
    top, bottom = tab.tell("""(({top, bottom}) => [top, bottom])(
      document.querySelector('.contents').getBoundingClientRect())""")
    assert top >= 0
    assert bottom <= PHONE["height"]
    heading = "document.querySelector('#data h2').getBoundingClientRect()"
    if width < 1280:
        assert tab.tell(f"{heading}.top") >= bottom
    assert tab.tell(OVERFLOW) == 0
    links = tab.tell("[...document.querySelectorAll('.contents a')].map(each => each.hash)")
    sections = tab.tell("[...document.querySelectorAll('main > section')].map(each => each.id)")
    assert links == [f"#{each}" for each in sections]
    tab.ask("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing_serious(tab, page, scheme):
    tab.show_in(scheme)
    tab.show(page)
    assert find_barriers(tab) == []
    # and nothing in what is folded, or in an enlarged case
    tab.tell("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert find_barriers(tab) == []
    tab.tell(f"{CASES}[0].click()")
    assert find_barriers(tab) == []
    tab.show_in("")


def test_hostile_names_are_text_and_no_script_but_the_pages_own_runs(tab):
    for name in NAMES:
        place = tab.tell(PATHS).index(name)
        tab.tell(f"{CASES}[{place}].click()")
        assert tab.tell(SHOWN) == name
        tab.tell("document.getElementById('close').click()")
    hostile = ".cases script, #enlarged script, [src=x]"
    assert tab.tell(f"document.querySelectorAll('{hostile}').length") == 0
    assert tab.complaints() == []
    tab.tell("""{
      const [script, other] = [1, 2].map(() => document.createElement("script"));
      script.textContent = "window.ran = 1";
      other.src = "data:text/javascript,window.ran=1";
      document.body.append(script, other);
      document.body.insertAdjacentHTML("beforeend", "<img src='x' onerror='window.ran = 1'>");
    }""")
    assert tab.tell("typeof window.ran") == "undefined"
    refused = " ".join(tab.complaints())
    assert "script-src" in refused
    assert "img-src" in refused


def test_paper_shows_cases_beside_their_heat_maps_without_controls_on_few_sheets(tab):
    tab.ask("Emulation.setEmulatedMedia", media="print")
    assert tab.tell(BESIDE)
    for gone in ("all-heat", "own-threshold", "close"):
        assert tab.tell(f"document.getElementById('{gone}').checkVisibility()") is False
    tab.ask("Emulation.setEmulatedMedia", media="")
    printed = tab.ask("Page.printToPDF", preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.69)
    sheets = re.findall(rb"/Type\s*/Page\b", b64decode(printed["data"]))
    assert len(sheets) <= 8


def test_without_scripts_cases_are_shown_beside_their_heat_maps(browser, page):
    browser.show(page, scripts=False)
    assert browser.tell(f"{CASES}.length") == 0
    for control in ("all-heat", "enlarged", "own-threshold", "cost-missed"):
        assert browser.tell(f"document.getElementById('{control}').checkVisibility()") is False
    assert browser.tell(BESIDE)
