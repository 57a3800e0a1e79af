"""Whose requests are answered, with which headers, and how many at a time."""

import http.client
import json
import re
import socket
import time
from collections.abc import Callable

import pytest
from page_elements import Elements
from page_server import OWN, PageServer
from PIL import Image

from deepfake_detection import Detector


@pytest.fixture(scope="module")
def picture(photograph: Callable[..., Image.Image], encode: Callable[..., bytes]) -> bytes:
    return encode(photograph(1))


@pytest.mark.parametrize("path", ["/", "/detector", "/score"])
@pytest.mark.parametrize("host", ["evil.example:{port}", "[::1]:{port}", "127.0.0.1.evil.example"])
def test_other_hosts_are_refused(page: PageServer, picture: bytes, path: str, host: str):
    method, body = ("POST", picture) if path == "/score" else ("GET", None)
    headers = OWN | {"Host": host.format(port=page.port)}
    assert page.ask(method, path, body, headers)[0] == 400


def test_request_without_a_host_is_refused(page: PageServer):
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"400"


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
    # nor does the preflight request allow the header that is needed
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Headers": "x-deepfake-page"}
    status, headers, _ = page.ask("OPTIONS", "/score", None, asked)
    assert status == 405
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
def test_every_answer_has_the_headers(
    page: PageServer, method: str, path: str, headers: dict[str, str]
):
    _, told, _ = page.ask(method, path, None, headers)
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Referrer-Policy"] == "no-referrer"
    assert told["Cache-Control"] == "no-store"
    assert told["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_page_needs_nothing_from_elsewhere(page: PageServer):
    document = page.ask("GET", "/")[2].decode("utf-8")
    elements = Elements(document)
    assert not re.findall(r"https?://", document)
    assert elements.names.count("script") == 1
    (policy,) = (each for each in elements.values("meta", "content") if "default-src" in each)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["connect-src"] == "'self'"
    assert rules["script-src"].startswith("'sha256-")
    assert elements.values("main", "data-max-megabytes") == ["0.3"]
    assert "1 megapixels" in elements.words


def test_card(page: PageServer, detector: Detector):
    status, headers, answer = page.ask("GET", "/detector")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(answer) == detector.describe()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/other", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e%2fetc/passwd", 404),
        ("HEAD", "/x", 404),
        ("GET", "/score", 405),
    ],
)
def test_other_addresses(page: PageServer, method: str, path: str, status: int):
    found, _, answer = page.ask(method, path)
    assert found == status
    assert method == "HEAD" or list(json.loads(answer)) == ["error"]


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


def test_more_uploads_wait_until_slow_ones_have_ended(page: PageServer, picture: bytes):
    slow = [start_upload(page, len(picture)) for _ in range(2)]
    # both have their place
    time.sleep(0.5)
    started = time.monotonic()
    assert page.score(picture)[0] == 200
    assert time.monotonic() - started > 0.5
    for connection in slow:
        late = connection.getresponse()
        assert late.status == 408
        assert list(json.loads(late.read())) == ["error"]
        connection.close()


def test_client_that_leaves_gives_its_place_back(page: PageServer, picture: bytes):
    for _ in range(4):
        start_upload(page, len(picture)).close()
    started = time.monotonic()
    assert page.score(picture)[0] == 200
    # less than slow uploads may take
    assert time.monotonic() - started < 2
    assert "Traceback" not in page.complaints()
