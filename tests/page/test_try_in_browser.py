"""The page in a real browser, where one is installed."""

import base64
import json
import socket
import time

import pytest
from page_in_browser import OVERFLOW, PHONE, open_tab

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=ran=1>.png"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def tab(browser, page):
    browser.show(f"http://127.0.0.1:{page.port}/")
    return browser


def finished(tab, count):
    """What each card says, once so many are finished."""
    tab.wait_for(f"document.querySelectorAll('.result:not(.waiting)').length == {count}")
    return tab.tell("""[...document.querySelectorAll('.result')].map(card => ({
        name: card.querySelector('.name').textContent,
        verdict: card.querySelector('.verdict-line').textContent,
        sentence: card.querySelector('.sentence').textContent,
    }))""")


def test_chosen_files_get_verdicts(tab, page, photograph, tmp_path):
    files = [tmp_path / "first.png", tmp_path / HOSTILE]
    for seed, file in enumerate(files):
        photograph(seed, (60, 40)).save(file)
    tab.choose_files("#picker", files)
    cards = finished(tab, 2)
    answers = [json.loads(page.score(file.read_bytes())[2]) for file in files]
    assert [card["name"] for card in cards] == ["first.png", HOSTILE]
    assert [card["verdict"].lower() for card in cards] == [each["verdict"] for each in answers]
    assert [card["sentence"] for card in cards] == [each["sentence"] for each in answers]
    assert tab.tell("progress.value") == tab.tell("progress.max") == 2
    # the name is text, and nothing violates the page's policy
    assert tab.tell("document.querySelectorAll('img[src=x]').length") == 0
    assert tab.tell("typeof ran") == "undefined"
    assert tab.complaints() == []
    shown, whole = tab.tell("""['.bar .filled', '.bar'].map(
        each => parseFloat(getComputedStyle(document.querySelector(each)).width))""")
    assert shown / whole == pytest.approx(answers[0]["fake_probability"], abs=0.01)


def test_heat_map_is_laid_over_what_the_network_saw(tab, photograph, tmp_path):
    file = tmp_path / "wide.png"
    photograph(3, (100, 40)).save(file)
    tab.choose_files("#picker", [file])
    finished(tab, 1)
    heat, photo = (f"document.querySelector('.{name}')" for name in ("heat", "photo"))
    assert tab.tell(f"getComputedStyle({heat}).display") == "none"
    # by the keyboard
    tab.tell("document.querySelector('.switch input').focus()")
    tab.press(" ", 32, " ")
    tab.wait_for(f"[{heat}, {photo}].every(each => each.complete && each.naturalWidth)")
    assert tab.tell(f"{heat}.naturalWidth") == 32
    places = tab.tell(f"""[{heat}, {photo}].map(each => {{
        const {{ left, right, top, bottom }} = each.getBoundingClientRect();
        return [left, right, top, bottom];
    }})""")
    (left, right, top, bottom), (start, end, above, below) = places
    # 32 of 40 pixels of the height, and of the 100 of the width
    assert (bottom - top) / (below - above) == pytest.approx(0.8, abs=0.02)
    assert (right - left) / (end - start) == pytest.approx(0.32, abs=0.02)
    assert (left + right) / 2 == pytest.approx((start + end) / 2, abs=1)


def test_dropped_and_pasted_pictures_are_scored(tab, photograph, encode):
    content = base64.b64encode(encode(photograph(5))).decode("ascii")
    tab.tell(f"""
        const bytes = Uint8Array.from(atob("{content}"), each => each.charCodeAt(0));
        const given = new DataTransfer();
        given.items.add(new File([bytes], "given.png", {{ type: "image/png" }}));
        document.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData: given }}));
        const dropped = {{ dataTransfer: given, bubbles: true }};
        document.body.dispatchEvent(new DragEvent("drop", dropped));
    """)
    first, second = finished(tab, 2)
    assert first == second
    assert first["verdict"] in {"Fake", "Real"}


def test_failures_are_shown_one_by_one_and_can_be_cleared(tab, tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    (tmp_path / "large.jpg").write_bytes(bytes(300_001))
    tab.choose_files("#picker", [tmp_path / "notes.jpg", tmp_path / "large.jpg"])
    cards = finished(tab, 2)
    assert tab.tell("document.querySelectorAll('.result.failed').length") == 2
    assert cards[0]["sentence"] != cards[1]["sentence"]
    assert "0.3 MB" in cards[1]["sentence"]
    tab.tell("document.getElementById('clear').click()")
    assert tab.tell("document.querySelectorAll('.result').length") == 0
    assert tab.tell("progress.value") == 0
    assert tab.tell("document.activeElement.id") == "picker"


def test_an_image_is_sent_again_until_there_is_a_place(tab, page, photograph, tmp_path):
    file = tmp_path / "late.png"
    photograph(2).save(file)
    start = b"POST /score HTTP/1.1\r\nHost: localhost\r\nX-Deepfake-Page: 1\r\nContent-Length: 9"
    # as many as are received at a time; they end after the seconds for an upload
    slow = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(8)]
    for connection in slow:
        connection.sendall(start + b"\r\n\r\n")
    time.sleep(0.5)
    assert page.score(file.read_bytes())[0] == 503
    tab.choose_files("#picker", [file])
    assert finished(tab, 1)[0]["verdict"] in {"Fake", "Real"}
    for connection in slow:
        connection.close()


def test_page_fits_a_phone(tab, tmp_path, photograph):
    file = tmp_path / f"{'long' * 40}.png"
    photograph(1).save(file)
    tab.ask("Emulation.setDeviceMetricsOverride", **PHONE)
    tab.choose_files("#picker", [file])
    finished(tab, 1)
    assert tab.tell(OVERFLOW) == 0
    tab.ask("Emulation.clearDeviceMetricsOverride")
