"""The page in a real browser, where one is installed."""

import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from reporting_samples import predict, predict_at_random

from deepfake_detection.pipelines.reporting.nodes import write_report

BROWSER = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None
)
PHONE = 375

# Holds the page in a frame as wide as a phone, and writes down what it measures in it.
FRAME = f"""<!doctype html><iframe id="page" src="report.html" width="{PHONE}" height="800"
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


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_page_fits_a_phone_and_runs_nothing(inputs, tmp_path: Path):
    name = "<script>ran = 1<:script><img src=x onerror=ran=1>" + "x" * 80 + ".jpeg"
    rows = [(f"<b>fakes</b>/{name}", 1, -4.0)]
    hostile = predict("test", rows)
    hostile.loc[0, "source"] = "s" * 200
    scored = pd.concat([hostile, predict_at_random("test", 60)], ignore_index=True)
    (tmp_path / "report.html").write_text(write_report(**inputs(scored)), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME, encoding="utf-8")

    handler = partial(QuietHandler, directory=str(tmp_path))
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
                f"--user-data-dir={tmp_path / 'profile'}",
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
    assert found[1] == '{"overflow":0,"scripts":0,"bold":0,"unloaded":0,"ran":false}'
