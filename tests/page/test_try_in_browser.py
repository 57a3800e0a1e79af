"""The page in a real browser, where one is installed."""

import base64
import json
import socket
import time

import pytest
from page_in_browser import (
    OVERFLOW,
    PHONE,
    find_barriers,
    find_stuck_folds,
    find_unreached,
    open_tab,
)

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=ran=1>.png"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_tab(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def face_tab(browser, face_page):
    browser.show(f"http://127.0.0.1:{face_page.port}/")
    return browser


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
        faces: [...card.querySelectorAll('.face-verdict')].map(each => each.textContent),
        boxes: [...card.querySelectorAll('.box')].map(each => each.className),
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
    assert all(
        f"{each['fake_probability']:.3f}" in card["sentence"]
        for card, each in zip(cards, answers, strict=True)
    )
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
    heat, crop = "document.querySelector('.heat')", "document.querySelector('.crop-picture')"
    assert tab.tell(f"getComputedStyle({heat}).display") == "none"
    # by the keyboard
    tab.tell("document.querySelector('.switch input').focus()")
    tab.press(" ", 32, " ")
    tab.wait_for(f"[{heat}, {crop}].every(each => each.complete && each.naturalWidth == 32)")
    over, under = tab.tell(f"""[{heat}, {crop}].map(each => {{
        const {{ left, right, top, bottom }} = each.getBoundingClientRect();
        return [left, right, top, bottom];
    }})""")
    assert over == under
    # the part that was scored: 32 of 40 pixels of the height, and of the 100 of the width
    seen = tab.tell("""(({ style }) => [style.width, style.height].map(parseFloat))(
        document.querySelector('.box.seen'))""")
    assert seen == pytest.approx([32, 80], abs=2)


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
    # names are told apart
    assert (first.pop("name"), second.pop("name")) == ("given.png", "given.png (2)")
    assert first == second
    assert first["verdict"] in {"Fake", "Real"}


def test_a_pasted_address_is_answered_by_a_sentence(tab):
    tab.tell("""
        const text = new DataTransfer();
        text.setData("text/plain", "https://example.org/a.jpg");
        document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: text }));
    """)
    assert "save the picture" in tab.tell("said.textContent")
    assert tab.tell("document.querySelectorAll('.result').length") == 0


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


def test_two_faces_of_a_photograph_have_boxes_and_verdicts(face_tab, people):
    face_tab.choose_files("#picker", [people / "two.png", people / "nobody.png"])
    two, nobody = finished(face_tab, 2)
    assert two["verdict"] == "Fake"
    assert sorted(verdict.split(",")[0] for verdict in two["faces"]) == ["Fake", "Real"]
    assert sorted(two["boxes"]) == ["box fake", "box real"]
    # a box lies on its face: each in its half of the picture
    places = face_tab.tell("""[...document.querySelectorAll('.box')].map(
        each => parseFloat(each.style.left) < 50)""")
    assert sorted(places) == [False, True]
    assert nobody["verdict"].startswith("No face found")
    assert nobody["faces"] == nobody["boxes"] == []
    assert face_tab.tell("document.getElementById('summary').textContent") == "1 fake, 1 no face"
    face_tab.tell("document.querySelector('.view .frame').click()")
    wide = face_tab.tell("document.querySelector('#large .photo').getBoundingClientRect().width")
    assert wide > face_tab.tell("document.querySelector('.photo').getBoundingClientRect().width")
    face_tab.tell("document.getElementById('large').close()")
    assert face_tab.complaints() == []


def test_a_clip_of_two_people_has_a_timeline_for_the_keyboard(face_tab, people):
    face_tab.choose_files("#picker", [people / "two.mp4"])
    (card,) = finished(face_tab, 1)
    assert sorted(verdict.split(",")[0] for verdict in card["faces"]) == ["Fake", "Real"]
    face_tab.wait_for("document.querySelectorAll('.timeline polyline').length == 2")
    assert face_tab.tell("document.querySelectorAll('.strip').length") == 2
    levels = face_tab.tell("""[...document.querySelectorAll('.timeline polyline')].map(
        line => line.getAttribute('points').split(' ').map(each => Number(each.split(',')[1])))""")
    limit = float(face_tab.tell("document.querySelector('.timeline .limit').getAttribute('y1')"))
    # one line on each side of the threshold
    assert sorted(all(level <= limit for level in line) for line in levels) == [False, True]
    face_tab.tell("document.querySelector('.timeline').focus()")
    told = []
    for key, code in [("Home", 36), ("ArrowRight", 39), ("End", 35), ("ArrowLeft", 37)]:
        face_tab.press(key, code)
        told.append(
            face_tab.tell("document.querySelector('.timeline').getAttribute('aria-valuetext')")
        )
    assert [each.split(" s:")[0] for each in told] == ["0.00", "0.10", "0.50", "0.40"]
    assert "person 1" in told[0]
    face_tab.ask("Emulation.setDeviceMetricsOverride", **PHONE)
    assert face_tab.tell(OVERFLOW) == 0
    face_tab.ask("Emulation.clearDeviceMetricsOverride")
    assert face_tab.complaints() == []


MADE_UP = {
    "kind": "picture", "fake_probability": 0.996, "verdict": "unsure", "threshold": 0.5,
    "width": 10, "height": 10, "warning": None, "error": None, "doubt": "unlike training",
    "unlikeness": 0.99, "crops": ["data:,"], "seen": None, "picture": "data:,",
    "faces": [
        {
            "box": [1, 1, 5, 5], "pixels": 4, "fake_probability": 0.996, "verdict": "unsure",
            "warning": None, "doubt": "unlike training", "unlikeness": 0.99,
        }
    ],
    "unscored": [{"box": [6, 6, 9, 9], "pixels": 3, "reason": "too small"}],
}  # fmt: skip


def test_a_doubted_verdict_is_not_shown_large(tab, photograph, tmp_path):
    file = tmp_path / "=HYPERLINK.png"
    photograph(1).save(file)
    tab.tell(f"""window.fetch = async () => new Response(JSON.stringify({json.dumps(MADE_UP)}));
        window.saved = []; URL.createObjectURL = blob => {{ saved.push(blob); return "data:,"; }};
        HTMLAnchorElement.prototype.click = () => {{}};""")
    tab.choose_files("#picker", [file])
    (card,) = finished(tab, 1)
    assert card["verdict"] == "Cannot say"
    assert "0.996" not in card["sentence"]
    assert "trained on" in card["sentence"]
    assert card["boxes"] == ["box unscored", "box unsure"]
    assert "too small" in tab.tell("document.querySelector('.faces').textContent")
    number = "document.querySelector('.told > .number')"
    # behind a disclosure
    assert not tab.tell(f"{number}.open")
    assert "0.996" in tab.tell(f"{number}.textContent")
    big, small = tab.tell("""['.name', '.verdict-line'].map(
        each => parseFloat(getComputedStyle(document.querySelector(each)).fontSize))""")
    assert small < 1.2 * big
    # a table without formulas
    tab.tell("document.getElementById('download').click()")
    tab.tell("saved.at(-1).text().then(each => { window.csv = each; })")
    tab.wait_for("window.csv")
    header, row = tab.tell("csv").splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert found["path"] == "'=HYPERLINK.png"
    assert (found["verdict"], found["fake_probability"]) == ("unsure", "0.996")


def test_results_are_sorted_and_filtered(face_tab, people):
    names = ["nobody.png", "two.png", "one.webm"]
    face_tab.choose_files("#picker", [people / name for name in names])
    finished(face_tab, 3)

    def order():
        return face_tab.tell("""[...document.querySelectorAll('.result:not([hidden]) .name')].map(
            each => each.textContent)""")

    def choose(field, value):
        face_tab.tell(f"""{field}.value = "{value}"; {field}.dispatchEvent(new Event("change"))""")
        return order()

    assert order() == names
    assert choose("sorting", "name") == sorted(names)
    assert choose("sorting", "fake")[-1] == "nobody.png"
    assert choose("filter", "no face") == ["nobody.png"]
    assert choose("filter", "") == choose("sorting", "fake")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing_serious(browser, face_page, people, scheme):
    browser.show_in(scheme)
    browser.show(f"http://127.0.0.1:{face_page.port}/")
    assert find_barriers(browser) == []
    browser.choose_files("#picker", [people / "two.png", people / "two.mp4", people / "sound.mp4"])
    finished(browser, 3)
    browser.wait_for("document.querySelectorAll('.timeline polyline').length == 2")
    assert find_barriers(browser) == []
    browser.tell("document.querySelector('.view .frame').click()")
    assert find_barriers(browser) == []
    browser.show_in("")


def test_the_keyboard_alone_reaches_everything_and_opens_and_closes(face_tab, people):
    assert find_unreached(face_tab) == []
    face_tab.choose_files("#picker", [people / "two.png", people / "two.mp4"])
    finished(face_tab, 2)
    face_tab.wait_for("document.querySelectorAll('.timeline polyline').length == 2")
    assert find_unreached(face_tab) == []
    assert find_stuck_folds(face_tab) == []
    large = "document.getElementById('large').open"
    for key in (("Enter", 13, "\r"), (" ", 32, " ")):
        face_tab.tell("document.querySelector('.view .frame').focus()")
        face_tab.press(*key)
        assert face_tab.tell(large)
        face_tab.press("Escape", 27)
        assert not face_tab.tell(large)
        # the focus is back where it was
        assert face_tab.tell("document.activeElement.className") == "frame"
