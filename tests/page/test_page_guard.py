"""Who is answered, what every answer is closed in by, and who has to wait."""

import http.client
import json
import re
import socket
import time
from collections.abc import Callable

import pytest
from page_server import OWN, PageServer
from PIL import Image


@pytest.fixture(scope="module")
def picture(photograph: Callable[..., Image.Image], encode: Callable[..., bytes]) -> bytes:
    return encode(photograph(1))


@pytest.mark.parametrize("path", ["/", "/detector", "/score"])
@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"]
)
def test_other_names_of_this_machine_are_refused(
    page: PageServer, picture: bytes, path: str, host: str
):
    method, body = ("POST", picture) if path == "/score" else ("GET", None)
    headers = OWN | {"Host": host.format(port=page.port)}
    status, _, answer = page.ask(method, path, body, headers)
    assert status == 421
    assert list(json.loads(answer)) == ["error"]


def test_request_without_a_host_is_refused(page: PageServer):
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"421"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_own_origin_is_answered(page: PageServer, picture: bytes, name: str):
    host = f"{name}:{page.port}"
    status, headers, _ = page.score(picture, Host=host, Origin=f"http://{host}")
    assert status == 200
    assert not any(each.lower().startswith("access-control") for each in headers)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1:{port}"]
)
def test_other_origins_are_refused(page: PageServer, picture: bytes, origin: str):
    status, _, answer = page.score(picture, Origin=origin.format(port=page.port))
    assert status == 403
    assert list(json.loads(answer)) == ["error"]


def test_what_any_page_can_send_is_refused(page: PageServer, picture: bytes):
    assert page.ask("POST", "/score", picture)[0] == 403
    # and the question before what it cannot is not answered either
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Headers": "x-deepfake-page"}
    status, headers, _ = page.ask("OPTIONS", "/score", None, asked)
    assert status == 403
    assert not any(each.lower().startswith("access-control") for each in headers)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {}),
        ("GET", "/detector", {}),
        ("GET", "/nothing", {}),
        ("GET", "/", {"Host": "evil.example"}),
        ("POST", "/score", OWN),
        ("POST", "/score", {}),
    ],
)
def test_every_answer_is_closed_in(
    page: PageServer, method: str, path: str, headers: dict[str, str]
):
    _, told, _ = page.ask(method, path, None, headers)
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Referrer-Policy"] == "no-referrer"
    assert told["Cache-Control"] == "no-store"
    policy = dict(rule.split(" ", 1) for rule in told["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in told["Content-Security-Policy"]


def test_page_needs_nothing_from_elsewhere(page: PageServer):
    document = page.ask("GET", "/")[2].decode("utf-8")
    assert not re.findall(r"https?://", document)
    assert document.count("<script>") == 1
    assert "0.3 MB" in document
    assert "1 megapixels" in document


def start_upload(page: PageServer, length: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)
    connection.putrequest("POST", "/score")
    for name, value in (OWN | {"Content-Length": str(length)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def test_long_length_is_refused_before_anything_is_sent(page: PageServer):
    connection = start_upload(page, 10**12)
    assert connection.getresponse().status == 413
    connection.close()


def test_line_is_bounded_and_slow_uploads_leave_it(page: PageServer, picture: bytes):
    slow, never = (start_upload(page, len(picture)) for _ in range(2))
    # until both have been seen
    until = time.monotonic() + 2
    while (answer := page.score(picture))[0] == 200:
        assert time.monotonic() < until
    status, headers, content = answer
    assert status == 503
    assert headers["Retry-After"] == "1"
    assert "waiting" in json.loads(content)["error"]
    slow.send(picture)
    assert slow.getresponse().status == 200
    late = never.getresponse()
    assert late.status == 408
    assert "2 seconds" in json.loads(late.read())["error"]
    assert page.score(picture)[0] == 200
    slow.close()
    never.close()


def test_client_that_leaves_gives_its_place_back(page: PageServer, picture: bytes):
    for _ in range(4):
        start_upload(page, len(picture)).close()
    until = time.monotonic() + 5
    while page.score(picture)[0] != 200:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert "Traceback" not in page.complaints()
