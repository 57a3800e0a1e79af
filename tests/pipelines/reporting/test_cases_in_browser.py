"""The gallery of cases in a real browser, where one is installed."""

from itertools import groupby

import pandas as pd
import pytest
from page_in_browser import open_tab
from reporting_samples import predict, predict_at_random, report_inputs

from deepfake_detection.pipelines.reporting.nodes import write_report

pytestmark = pytest.mark.browser

NAMES = (
    "fakes/<script>window.ran = 1;alert(1)<:script>.png",
    'fakes/"><img src=x onerror=window.ran=1>.png',
    "fakes/' onclick='window.ran=1" + "x" * 120 + ".png",
)
HOSTILE = predict("test", [(name, 1, -9.0 + place) for place, name in enumerate(NAMES)])
SCORED = pd.concat([HOSTILE, predict_at_random("test", 60)], ignore_index=True)

SHOWN = "[...document.querySelectorAll('#cases > li')].filter(each => !each.hidden)"
PATHS = f"{SHOWN}.map(each => each.dataset.path)"
ENLARGED = "document.getElementById('enlarged').open"
HEAT_SHOWN = f"""{SHOWN}.filter(
  each => getComputedStyle(each.querySelector('.over')).visibility === 'visible').length"""


# whether every heat map stands at the right of its picture, and in sight
BESIDE = """[...document.querySelectorAll('#cases .picture')].every(each => {
  const [picture, heat] = [each.querySelector('img'), each.querySelector('.over')].map(
    part => part.getBoundingClientRect());
  return heat.left >= picture.right - 1 && heat.width > 20 && Math.abs(heat.top - picture.top) < 1;
})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    written = write_report(**report_inputs(folder, SCORED))
    (folder / "page.html").write_text(written, encoding="utf-8")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(browser, page):
    browser.show(page)
    return browser


def choose(tab, **values):
    for control, value in values.items():
        tab.tell(f"""{{
          const control = document.getElementById("choose-{control}");
          control.value = {value!r};
          control.dispatchEvent(new Event("input"));
        }}""")


def told(tab):
    return tab.tell("document.querySelector('#counted[role=status]').textContent")


def cases(tab):
    """All cases in the order in which they stand."""
    return tab.tell("[...document.querySelector('#cases').children].map(e => ({...e.dataset}))")


@pytest.mark.parametrize(
    ("control", "value"),
    [("kind", "false positive"), ("class", "fake_deepfake"), ("path", "FAKE_f"), ("path", "<img")],
)
def test_cases_are_chosen_by_kind_class_and_path(tab, control, value):
    everything = cases(tab)
    expected = [
        case["path"]
        for case in everything
        if case[control] == value or (control == "path" and value.lower() in case["path"].lower())
    ]
    assert 0 < len(expected) < len(everything)
    assert told(tab).startswith(f"{len(everything)} of {len(everything)} ")
    assert tab.complaints() == []
    choose(tab, **{control: value})
    assert tab.tell(PATHS) == expected
    assert told(tab).startswith(f"{len(expected)} of {len(everything)} ")


def test_what_is_chosen_together_holds_together(tab):
    both = {"class": "fake_deepfake", "kind": "certain fake"}
    of_both = [case["path"] for case in cases(tab) if case.items() >= both.items()]
    chosen = [path for path in of_both if "1" in path]
    assert 0 < len(chosen) < len(of_both)
    for path, expected in (("1", chosen), ("nothing is called so", [])):
        choose(tab, path=path, **both)
        assert tab.tell(PATHS) == expected
    assert told(tab).startswith("0 of ")


def test_cases_are_sorted_and_come_back_to_their_own_order(tab):
    before = cases(tab)
    probabilities = sorted(float(case["probability"]) for case in before)
    choose(tab, order="lowest")
    assert [float(case["probability"]) for case in cases(tab)] == probabilities
    choose(tab, order="highest")
    assert [float(case["probability"]) for case in cases(tab)] == probabilities[::-1]
    choose(tab, order="path")
    reals = [case["path"] for case in cases(tab) if case["class"] == "real"]
    # by their numbers: real/9.png stands before real/12.png
    assert reals == sorted(reals, key=lambda path: int(path[5:-4]))
    choose(tab, order="source")
    sources = [case["source"] for case in cases(tab)]
    assert len(set(sources)) == len(list(groupby(sources)))
    choose(tab, order="")
    assert cases(tab) == before


def test_heat_maps_are_switched_together_and_each_also_in_the_enlarged_case(tab):
    total = len(cases(tab))
    everyone = "document.getElementById('all-heat')"
    first = "document.querySelector('#cases .switch')"
    pressed = f"[{first}, {everyone}].map(each => each.getAttribute('aria-pressed'))"
    assert tab.tell(HEAT_SHOWN) == total
    tab.tell(f"{first}.click()")
    assert tab.tell(HEAT_SHOWN) == total - 1
    assert tab.tell(pressed) == ["false", "false"]
    tab.tell(f"{everyone}.click()")
    assert tab.tell(HEAT_SHOWN) == total
    assert tab.tell(pressed) == ["true", "true"]
    tab.tell("document.querySelector('#cases button.tile').click()")
    over = "getComputedStyle(document.querySelector('#stage .over')).visibility"
    for button, seen in (("one-heat", "hidden"), ("next", "visible")):
        tab.tell(f"document.getElementById('{button}').click()")
        assert tab.tell(over) == seen
    tab.tell("document.getElementById('close').click()")
    assert tab.tell(HEAT_SHOWN) == total - 1
    for shown in (total, 0):
        tab.tell(f"{everyone}.click()")
        assert tab.tell(HEAT_SHOWN) == shown


def test_heat_map_lies_on_the_part_that_the_network_saw(tab):
    places = tab.tell("""["#cases .picture > img", "#cases .heat"].map(name => {
      const box = document.querySelector(name).getBoundingClientRect();
      return [box.x, box.y, box.width, box.height];
    })""")
    (x, y, width, height), heat = places
    assert width / height == pytest.approx(40 / 30, abs=0.02)
    seen = [x + 0.1 * width, y + 0.1 * height, 0.8 * width, 0.8 * height]
    assert heat == pytest.approx(seen, abs=0.5)


def test_keys_enlarge_a_case_go_on_and_close(tab):
    choose(tab, kind="false positive", order="path")
    paths = tab.tell(PATHS)
    shown = "document.querySelector('#said .path').textContent"
    tab.tell("document.querySelector('#cases li:not([hidden]) button.tile').focus()")
    tab.press("Enter", 13, "\r")
    assert tab.tell(ENLARGED)
    assert tab.tell(shown) == paths[0]
    assert tab.tell("document.activeElement.id") == "close"
    tab.press("ArrowRight", 39)
    assert tab.tell(shown) == paths[1]
    tab.press("ArrowLeft", 37)
    tab.press("ArrowLeft", 37)
    assert tab.tell(shown) == paths[-1]
    assert f"{len(paths)} of {len(paths)}" in tab.tell("document.getElementById('said').innerText")
    assert tab.tell("document.querySelectorAll('#stage img').length") == 2
    tab.press("Escape", 27)
    assert not tab.tell(ENLARGED)
    # who goes on with the keyboard goes on from there; the page hears of the end a moment later
    tab.wait_for(f"document.activeElement.closest('li')?.dataset.path === '{paths[-1]}'")
    assert tab.complaints() == []


def test_hostile_names_are_text_and_no_script_but_the_pages_own_runs(tab):
    for place, name in enumerate(NAMES):
        tab.tell(f"document.querySelectorAll('#cases button.tile')[{place}].click()")
        assert tab.tell("document.querySelector('#said .path').textContent") == name
        tab.tell("document.getElementById('close').click()")
    hostile = "#cases script, #enlarged script, [src=x]"
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


def test_paper_shows_all_cases_in_their_own_order_beside_their_heat_maps(tab):
    before = cases(tab)
    choose(tab, path="real/1", order="lowest")
    chosen = tab.tell(PATHS)
    tab.tell("document.getElementById('all-heat').click()")
    tab.ask("Emulation.setEmulatedMedia", media="print")
    tab.tell("dispatchEvent(new Event('beforeprint'))")
    assert cases(tab) == before
    assert tab.tell(PATHS) == [case["path"] for case in before]
    assert tab.tell(HEAT_SHOWN) == len(before)
    assert tab.tell(BESIDE)
    assert tab.tell("document.getElementById('choices').checkVisibility()") is False
    tab.ask("Emulation.setEmulatedMedia", media="")
    tab.tell("dispatchEvent(new Event('afterprint'))")
    assert tab.tell(PATHS) == chosen


def test_without_scripts_all_cases_are_shown_beside_their_heat_maps(browser, page):
    browser.show(page, scripts=False)
    assert browser.tell("document.querySelectorAll('#cases button').length") == 0
    for control in ("choices", "enlarged"):
        assert browser.tell(f"document.getElementById('{control}').checkVisibility()") is False
    assert browser.tell(BESIDE)
