"""A page in a real browser, where one is installed."""

import json
import re
import shutil
import subprocess
import threading
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
                str(BROWSER),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                f"--user-data-dir={folder / 'profile'}",
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
