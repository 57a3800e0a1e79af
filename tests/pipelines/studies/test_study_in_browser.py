"""The page of a study in a real browser, where one is installed: for everyone, and on paper."""

import pytest
from page_in_browser import find_barriers, find_stuck_folds, find_unreached, open_tab
from study_samples import comparison, fine_tuning
from test_study_page import cumulative, render

pytestmark = pytest.mark.browser

STUDIES = {
    "fine_tuning": lambda: fine_tuning(epochs=2, rows=3),
    "comparison": lambda: comparison(epochs=1, seeds=[0, 1]),
    "cumulative": cumulative,
}


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with open_tab(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module", params=STUDIES)
def page(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("study") / "page.html"
    file.write_text(render(STUDIES[request.param]()), encoding="utf-8")
    return file


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing_serious(tab, page, scheme):
    tab.show_in(scheme)
    tab.show(page)
    assert find_barriers(tab) == []
    tab.tell("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert find_barriers(tab) == []


def test_the_keyboard_alone_reaches_everything_and_opens_and_closes(tab, page):
    tab.show(page)
    assert find_unreached(tab) == []
    assert find_stuck_folds(tab) == []
    tab.tell("folds.forEach(each => { each.open = true; })")
    assert find_unreached(tab) == []
