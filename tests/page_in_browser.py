"""A page in a real browser, where one is installed."""

import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from importlib.resources import files

import pytest

PHONE = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": False}
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
# what `show_on_a_phone` finds in a page that fits, and that runs and loads nothing
HARMLESS = {"overflow": 0, "scripts": 0, "bold": 0, "unloaded": 0, "ran": False}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def show_on_a_phone(page, folder):
    """What the browser measures in the page on a screen as wide as a phone's."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    with open_tab(folder) as tab:
        tab.ask("Emulation.setDeviceMetricsOverride", **PHONE)
        tab.show(folder / "page.html")
        return tab.tell(f"""({{
          overflow: {OVERFLOW},
          scripts: document.scripts.length,
          bold: document.querySelectorAll("table b, figcaption b").length,
          unloaded: [...document.images].filter(image => !image.naturalWidth).length,
          ran: Boolean(window.ran),
        }})""")


def find_barriers(tab, impacts=("serious", "critical")):
    """What axe-core finds in the page that is shown, of these impacts: rule and elements."""
    script = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    # the page's policy does not hold for what DevTools run
    tab.tell(f"{{ const module = undefined; {script} }} 0")
    # it does not see through the shadows at a table's edges
    tab.tell("""document.querySelectorAll(".scroll").forEach(
      each => { each.style.backgroundImage = "none"; })""")
    found = tab.tell("axe.run().then(({violations}) => violations)")
    return [
        (each["id"], [node["target"][0] for node in each["nodes"]])
        for each in found
        if each["impact"] in impacts
    ]


def find_unreached(tab):
    """The controls in sight, by the start of their HTML, to which Tab does not lead."""
    count = tab.tell("""(window.controls = [...document.querySelectorAll(
      'a[href], button, input, select, summary, [tabindex="0"]')].filter(
      each => each.checkVisibility() && !each.disabled)).length""")
    reached = set()
    # what is scrolled is reached too
    for _ in range(2 * count):
        tab.press("Tab", 9)
        reached.add(tab.tell("controls.indexOf(document.activeElement)"))
    assert count
    missed = sorted(set(range(count)) - reached)
    return [tab.tell(f"controls[{place}].outerHTML.slice(0, 100)") for place in missed]


def find_stuck_folds(tab):
    """The folds in sight, by their names, that Enter does not open or Space does not close."""
    stuck = []
    for place in range(
        tab.tell("(window.folds = [...document.querySelectorAll('details')]).length")
    ):
        fold = f"folds[{place}]"
        if tab.tell(f"{fold}.checkVisibility()"):
            tab.tell(f"{fold}.open = false; {fold}.querySelector('summary').focus()")
            tab.press("Enter", 13, "\r")
            opened = tab.tell(f"{fold}.open")
            tab.press(" ", 32, " ")
            if not opened or tab.tell(f"{fold}.open"):
                stuck.append(tab.tell(f"{fold}.innerText"))
    return stuck


class Tab:
    """A page in a browser that is spoken to by the DevTools protocol, over two pipes."""

    def __init__(self, to_browser, from_browser):
        self._to, self._from = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = {}
        self.events = []
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _read(self):
        while b"\0" not in self._rest:
            read = os.read(self._from, 1 << 20)
            assert read, "the browser has ended"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def show(self, page, *, scripts=True):
        """Load a file or an address, as one in which scripts do not run if so wished."""
        address = page if isinstance(page, str) else page.as_uri()
        self.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.ask("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())
        self.ask("Emulation.setScriptExecutionDisabled", value=False)

    def show_in(self, scheme):
        """Show pages in a colour scheme, `light` or `dark`, from here on."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def tell(self, expression):
        """What a JavaScript expression is in the page."""
        answer = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, expression):
        """Wait until a JavaScript expression is true in the page."""
        until = time.monotonic() + 120
        while not self.tell(expression):
            assert time.monotonic() < until, f"never true: {expression}"
            time.sleep(0.02)

    def choose_files(self, selector, files):
        """Put files into a file field, as its dialogue does."""
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        field = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=field, files=[str(file) for file in files])

    def press(self, key, code, text=""):
        """Press a key as a person does, wherever the focus is."""
        same = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **same)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **same)

    def complaints(self):
        """What the browser refused, and which errors it met, since the page was loaded."""
        self.tell("0")
        said = ("Log.entryAdded", "Runtime.exceptionThrown")
        return [json.dumps(event) for event in self.events if event.get("method") in said]


@contextmanager
def open_tab(folder):
    """A browser with one tab and a profile of its own in `folder`; skips where there is none."""
    names = ["chromium", "chromium-browser", "google-chrome"]
    program = next(filter(None, map(shutil.which, names)), None) or pytest.skip(f"none of {names}")
    # the browser reads from 3 and writes to 4; these stand well above
    pipes = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for pair in (os.pipe(), os.pipe()) for end in pair]
    reads, to_browser, from_browser, writes = pipes
    browser = subprocess.Popen(
        [
            "bash", "-c", f'exec "$0" "$@" 3<&{reads} 4>&{writes}', program, *OPTIONS,
            "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}", "about:blank",
        ],
        pass_fds=(reads, writes), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(reads)
    os.close(writes)
    try:
        yield Tab(to_browser, from_browser)
    finally:
        browser.terminate()
        browser.wait(timeout=120)
        os.close(to_browser)
        os.close(from_browser)
