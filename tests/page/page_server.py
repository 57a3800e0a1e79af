"""The page as a process of its own, and requests to it."""

import asyncio
import http.client
import os
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

OWN = {"X-Deepfake-Page": "1"}

# Writes a line for each file that is opened for writing, as the command starts
WATCHED = """
import os, sys
def watch(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        print("opened for writing:", arguments[0], file=sys.stderr, flush=True)
sys.addaudithook(watch)
from deepfake_detection.page.command import main
main()
"""


@dataclass
class PageServer:
    """A page that is served, what it says, and the empty folder that it runs in."""

    process: subprocess.Popen[str]
    folder: Path
    port: int = 0
    said: list[str] = field(default_factory=list)

    def wait(self):
        """Wait until it says where it is."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if line.startswith("Page:"):
                self.port = int(line.rpartition(":")[2])
                # that Ctrl-C ends it
                self.said.append(next(self.process.stdout))
                return self
        raise AssertionError(f"it never said where it is: {self.complaints()}")

    def complaints(self):
        return (self.folder.parent / "stderr").read_text(encoding="utf-8")

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body of the answer to one request."""
        with closing(self.connect()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def score(self, body, query="", **headers):
        return self.ask("POST", f"/score?{query}", body, OWN | headers)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def start_page(folder, *arguments, first=""):
    """Start the page at a free port, in an empty folder where its temporary files would be too.

    `first` is code that its process runs before.
    """
    empty = folder / "empty"
    empty.mkdir(parents=True)
    environment = os.environ | {
        "TMPDIR": str(empty), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", first + WATCHED, *arguments, "--port", "0", "--no-browser"],
            cwd=empty, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True,
        )  # fmt: skip
    return PageServer(process, empty)


def call_app(app, body):
    """Status and body of an application's answer, which no server passes on."""
    headers = [(b"host", b"localhost"), (b"x-deepfake-page", b"1")]
    scope = {
        "type": "http", "method": "POST", "path": "/score", "headers": headers, "query_string": b"",
    }  # fmt: skip
    said = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        said.append(message)

    with suppress(RuntimeError):
        asyncio.run(app(scope, receive, send))
    start, content = said
    return start["status"], content["body"]
