"""Whose requests are answered, with which headers, and how many at a time."""

import json
import re
import socket
import time

import pytest
from page_elements import Elements
from page_server import OWN


@pytest.fixture(scope="module")
def picture(photograph, encode):
    return encode(photograph(1))


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", {}, 200),
        ("GET", "/detector", {}, 200),
        ("GET", "/other", {}, 404),
        ("HEAD", "/other", {}, 404),
        ("GET", "/../../etc/passwd", {}, 404),
        ("GET", "/%2e%2e%2fetc/passwd", {}, 404),
        ("GET", "/score", {}, 405),
        # other hosts
        ("GET", "/", {"Host": "evil.example:{port}"}, 400),
        ("GET", "/detector", {"Host": "[::1]:{port}"}, 400),
        ("POST", "/score", OWN | {"Host": "127.0.0.1.evil.example"}, 400),
        # other origins
        ("POST", "/score", OWN | {"Origin": "https://evil.example"}, 403),
        ("POST", "/score", OWN | {"Origin": "null"}, 403),
        ("POST", "/score", OWN | {"Origin": "http://127.0.0.1:1"}, 403),
        ("POST", "/score", OWN | {"Origin": "https://127.0.0.1:{port}"}, 403),
        # what pages of other sites can send, and the question whether they can send more
        ("POST", "/score", {}, 403),
        ("OPTIONS", "/score", {"Access-Control-Request-Headers": "x-deepfake-page"}, 405),
    ],
)
def test_answers_and_their_headers(page, detector, picture, method, path, headers, status):
    headers = {name: value.format(port=page.port) for name, value in headers.items()}
    body = picture if method == "POST" else None
    found, told, answer = page.ask(method, path, body, headers)
    assert found == status
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Referrer-Policy"] == "no-referrer"
    assert told["Cache-Control"] == "no-store"
    assert told["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert not any(each.lower().startswith("access-control") for each in told)
    if status in {403, 404, 405} and method != "HEAD":
        assert list(json.loads(answer)) == ["error"]
    if (path, status) == ("/detector", 200):
        assert json.loads(answer) == detector.describe()


def test_request_without_a_host_is_refused(page):
    with socket.create_connection(("127.0.0.1", page.port), timeout=120) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").readline().split()[1] == b"400"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_own_origin_is_answered(page, picture, name):
    host = f"{name}:{page.port}"
    assert page.score(picture, Host=host, Origin=f"http://{host}")[0] == 200


def test_page_needs_nothing_from_elsewhere(page):
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
    assert "32×32" in elements.words


def start_upload(page, length):
    connection = page.connect()
    connection.putrequest("POST", "/score")
    for name, value in (OWN | {"Content-Length": str(length)}).items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection


def test_long_length_is_refused_before_anything_is_sent(page):
    connection = start_upload(page, 10**12)
    assert connection.getresponse().status == 413
    connection.close()


def test_slow_uploads_are_ended_and_others_go_on(page, picture):
    slow = [start_upload(page, len(picture)) for _ in range(2)]
    # both have their place
    time.sleep(0.5)
    started = time.monotonic()
    assert page.score(picture)[0] == 200
    assert time.monotonic() - started < 3
    for connection in slow:
        late = connection.getresponse()
        assert late.status == 408
        assert list(json.loads(late.read())) == ["error"]
        connection.close()


def test_client_that_leaves_gives_its_place_back(page, picture):
    for _ in range(4):
        start_upload(page, len(picture)).close()
    started = time.monotonic()
    assert page.score(picture)[0] == 200
    # less than slow uploads may take
    assert time.monotonic() - started < 3
    assert "Traceback" not in page.complaints()
