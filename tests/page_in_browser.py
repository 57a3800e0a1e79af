"""A page in a real browser, where one is installed."""

import base64
import fcntl
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BROWSER = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
PHONE = 375

# Holds the page in a frame as wide as a phone, and writes down what it measures in it.
FRAME = f"""<!doctype html><iframe id="page" src="page.html" width="{PHONE}" height="800"
 style="border:0"></iframe><p id="found"></p><script>
window.injected = [];
page.onload = () => {{
  const inside = page.contentDocument;
  const unloaded = [...inside.images].filter(image => !image.naturalWidth);
  found.textContent = JSON.stringify({{
    overflow: inside.documentElement.scrollWidth - inside.documentElement.clientWidth,
    scripts: inside.scripts.length,
    bold: inside.querySelectorAll("table b, figcaption b").length,
    unloaded: unloaded.length,
    ran: Boolean(page.contentWindow.ran),
  }});
}};
</script>"""


def quiet_command(profile: Path) -> list[str]:
    """The browser without a window, without calls home, and with a profile of its own."""
    return [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        f"--user-data-dir={profile}",
    ]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):  # noqa: A002
        pass


def show_on_a_phone(page: str, folder: Path) -> dict[str, Any]:
    """What the browser measures in the page, held in a frame as wide as a phone."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME, encoding="utf-8")
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = subprocess.run(
            [
                *quiet_command(folder / "profile"),
                "--virtual-time-budget=5000",
                "--dump-dom",
                f"http://127.0.0.1:{server.server_address[1]}/frame.html",
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        server.shutdown()
    found = re.search(r'<p id="found">(.*?)</p>', shown)
    assert found, shown[:2000]
    return json.loads(unescape(found[1]))


# what `show_on_a_phone` finds in a page that fits, and that runs and loads nothing
HARMLESS = {"overflow": 0, "scripts": 0, "bold": 0, "unloaded": 0, "ran": False}


class OpenPage:
    """A page of a server, open in a browser that is told what to do.

    It speaks the browser's own protocol (Chrome DevTools Protocol) over a pair of pipes.
    """

    def __init__(self, address: str, profile: Path, width: int = 1280):
        to_browser, self._commands = map(above_standard, os.pipe())
        self._events, from_browser = map(above_standard, os.pipe())

        def put_in_place() -> None:
            # where the browser expects them
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        self._process = subprocess.Popen(
            [
                *quiet_command(profile),
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=put_in_place,  # noqa: PLW1509  (it takes no locks)
        )
        os.close(to_browser)
        os.close(from_browser)
        self._rest = b""
        self._last = 0
        self._session: str | None = None
        self.messages: list[dict[str, Any]] = []
        pages = self.tell("Target.getTargets")["targetInfos"]
        target = next(each["targetId"] for each in pages if each["type"] == "page")
        attached = self.tell("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log", "Network"):
            self.tell(f"{domain}.enable")
        self.resize(width)
        self.tell("Page.navigate", url=address)
        self.wait_for("document.readyState == 'complete' && location.href != 'about:blank'")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._events)

    def tell(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command; whatever else it says is kept in `messages`."""
        self._last += 1
        command = {"id": self._last, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while (message := self._read()).get("id") != self._last:
            self.messages.append(message)
        assert "error" not in message, message
        return message["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._events, 1 << 16)
            assert read, "the browser has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        found = self.tell(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 20) -> None:
        """Wait until an expression becomes true in the page."""
        until = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < until, f"never true: {expression}"
            time.sleep(0.02)

    def choose_files(self, selector: str, files: Sequence[Path]) -> None:
        """Put files into a file field, as its dialogue does."""
        root = self.tell("DOM.getDocument")["root"]["nodeId"]
        field = self.tell("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.tell("DOM.setFileInputFiles", nodeId=field, files=[str(file) for file in files])

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window so many pixels wide and high."""
        self.tell(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def show_in(self, theme: str) -> None:
        """Prefer a theme: light or dark."""
        scheme = {"name": "prefers-color-scheme", "value": theme}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])

    def photograph(self, path: Path) -> None:
        """Write the whole page as a PNG file."""
        shown = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shown["data"]))


def above_standard(descriptor: int) -> int:
    """The same open file under a number that nothing else expects to be free."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved
