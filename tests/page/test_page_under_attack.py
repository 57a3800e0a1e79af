"""Pictures that take long, clients that are slow or leave, and a detector without numbers."""

import io
import json
import socket
import struct
import time
import zlib
from contextlib import ExitStack, closing
from copy import deepcopy
from threading import Thread

import psutil
import pytest
import torch
from page_server import call_app, start_page
from picture_samples import png_of_size
from PIL import Image

from deepfake_detection.page.app import make_app
from deepfake_detection.page.decoding_process import (
    DecodingLimits,
    DecodingProcess,
    SlowPictureError,
)
from deepfake_detection.page.requests import Limits
from deepfake_detection.page.scoring import UploadScorer

HEAD = "POST /score HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Deepfake-Page: 1\r\n"


@pytest.fixture(scope="module")
def picture(photograph, encode):
    return encode(photograph(1))


@pytest.fixture(scope="module")
def endless(encode):
    """A JPEG of 49 megapixels and 200 scans, nearly the most that is decoded at all."""
    content = encode(Image.new("L", (7000, 7000), 3), "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xc4") : -2]
    return content[:-2] + scan * (200 - content.count(b"\xff\xda")) + b"\xff\xd9"


@pytest.fixture(scope="module")
def hasty(detector_file, tmp_path_factory):
    """A page that decodes for two seconds, lets two images wait, and requests for four seconds."""
    limits = ["--decode-seconds", "2", "--max-waiting", "2", "--max-megapixels", "50"]
    sooner = "from deepfake_detection.page import server\nserver._WAITING_SECONDS = 4\n"
    folder = tmp_path_factory.mktemp("hasty")
    server = start_page(folder, str(detector_file), *limits, first=sooner)
    yield server.wait()
    server.end()


def send(page, text, body=b""):
    connection = socket.create_connection(("127.0.0.1", page.port), timeout=120)
    connection.sendall(text.encode() + body)
    return connection


def told_status(connection):
    return int(connection.makefile("rb").readline().split()[1])


def seconds_of(page, body):
    started = time.monotonic()
    assert page.score(body)[0] == 200
    return time.monotonic() - started


def chunks(kind, number):
    chunk = struct.pack(">I", 0) + kind + struct.pack(">I", zlib.crc32(kind))
    whole = png_of_size(1, 1)
    return whole[:33] + chunk * number + whole[33:]


def test_a_picture_that_takes_long_is_given_up(hasty, endless, picture):
    for body in (endless, chunks(b"teSt", 1_600_000)):
        started = time.monotonic()
        status, _, answer = hasty.score(body)
        assert (status, list(json.loads(answer))) == (422, ["error"])
        assert 1.9 < time.monotonic() - started < 4
        # by a new process
        assert hasty.score(picture)[0] == 200


def test_extreme_proportions_are_refused_before_decoding(hasty):
    started = time.monotonic()
    assert hasty.score(png_of_size(1, 49_000_000))[0] == 413
    assert time.monotonic() - started < 1


def test_more_than_can_wait_is_told_to_come_back(hasty, endless, picture):
    posted = [Thread(target=hasty.score, args=[endless]) for _ in range(2)]
    for each in posted:
        each.start()
    time.sleep(1)
    status, headers, _ = hasty.score(picture)
    assert status == 503
    assert int(headers["Retry-After"]) > 0
    for each in posted:
        each.join()
    assert hasty.score(picture)[0] == 200


def test_nothing_is_decoded_for_clients_that_have_left(hasty, endless, picture):
    assert hasty.score(picture)[0] == 200
    page = psutil.Process(hasty.process.pid)
    (decoder,) = page.children()
    request = f"{HEAD}Content-Length: {len(endless)}\r\n\r\n"
    with send(hasty, request, endless):
        send(hasty, request, endless).close()
        # the first image is given up
        decoder.wait(30)
    time.sleep(1)
    assert page.children() == []
    assert hasty.score(picture)[0] == 200
    assert "Traceback" not in hasty.complaints()


def test_slow_uploads_do_not_hold_up_others(hasty, picture):
    with ExitStack() as stack:
        slow = [send(hasty, f"{HEAD}Content-Length: 9\r\n\r\n") for _ in range(8)]
        for each in slow:
            stack.enter_context(closing(each))
        time.sleep(0.3)
        assert hasty.score(picture)[0] == 503
        slow.pop().close()
        time.sleep(0.3)
        assert seconds_of(hasty, picture) < 2


@pytest.mark.parametrize("length", ["", "Content-Length: 3\r\n"])
def test_bodies_in_chunks_are_refused(page, length):
    with send(page, f"{HEAD}{length}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n") as connection:
        assert told_status(connection) == 411


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {'a' * 70_000}", 400),
        (f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{'X: a' * 20_000}", 400),
        (f"{HEAD}Content-Length: {'9' * 5000}\r\n\r\n", 400),
        (f"{HEAD}Content-Length: {'9' * 20}\r\n\r\n", 413),
        (f"{HEAD}Content-Type: multipart/form-data\r\nContent-Length: 4\r\n\r\n--x\r", 415),
        ("OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
        ("GET / HTTP/1.1\r\nHost: localhost:80@evil.example\r\n\r\n", 400),
        ("PUT /score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n\r\nx", 405),
        ("POST /%73core HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n", 403),
        ("GET /%00%ff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    ],
)
def test_odd_requests_are_refused(page, text, status):
    with send(page, text) as connection:
        assert told_status(connection) == status


def test_pipelined_images_are_answered_in_order(page, picture):
    request = f"{HEAD}Content-Length: {len(picture)}\r\n\r\n".encode() + picture
    last = b"GET /detector HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    with send(page, "", request * 5 + last) as connection:
        answers = connection.makefile("rb").read()
    assert answers.count(b"HTTP/1.1 200 OK") == 6
    assert answers.count(b'"fake_probability"') == 5


def count_connections(page):
    found = psutil.Process(page.process.pid).net_connections()
    return sum(each.status == psutil.CONN_ESTABLISHED for each in found)


def test_connections_that_wait_for_long_or_are_too_many_are_closed(hasty, picture):
    with ExitStack() as stack:
        for text in ["GET / HTTP/1.1\r\nX: "] * 299 + [f"GET / HTTP/1.1\r\n{HEAD[22:]}\r\n" * 9000]:
            connection = send(hasty, "")
            stack.enter_context(closing(connection))
            # of the last, whose answers are not read, some of the requests find no place
            connection.settimeout(1)
            try:
                connection.sendall(text.encode())
            except OSError:
                continue
        time.sleep(0.5)
        assert count_connections(hasty) <= 128
        assert seconds_of(hasty, picture) < 2
        time.sleep(5)
        assert count_connections(hasty) == 0
    assert "Traceback" not in hasty.complaints()


def test_a_network_of_nan_gives_an_error_and_no_verdict(detector, picture):
    damaged = deepcopy(detector)
    with torch.no_grad():
        next(damaged.network.parameters()).fill_(float("nan"))
    with closing(DecodingProcess(DecodingLimits(1, 9))) as decoder:
        scorer = UploadScorer(damaged, "cpu", decoder)
        app = make_app(damaged, scorer, Limits(1, 1, 1, 9), decoder.limits)
        status, body = call_app(app, picture)
    assert status == 422
    assert list(json.loads(body)) == ["error"]


def test_decoding_process_starts_again_after_it_has_ended(picture, endless):
    with closing(DecodingProcess(DecodingLimits(50, 30))) as decoder:
        expected = Image.open(io.BytesIO(picture)).convert("RGB").tobytes()
        assert decoder.open(picture).tobytes() == expected
        decoder.close()
        assert decoder.open(picture).tobytes() == expected
        # the next pictures are answered, whatever came before
        decoder.limits = DecodingLimits(50, 0)
        with pytest.raises(SlowPictureError):
            decoder.open(endless)
        decoder.limits = DecodingLimits(50, 30)
        assert decoder.open(picture).tobytes() == expected


def test_decoding_process_ends_with_the_page(hasty, picture):
    assert hasty.score(picture)[0] == 200
    (child,) = psutil.Process(hasty.process.pid).children()
    hasty.process.kill()
    child.wait(30)


@pytest.mark.slow
def test_memory_is_flat_over_two_thousand_pictures(page, photograph, encode):
    bodies = [encode(photograph(seed, (600, 400 + seed)), "JPEG") for seed in range(50)]
    process = psutil.Process(page.process.pid)
    watched, used = [process, *process.children()], []
    for number in range(2200):
        assert page.score(bodies[number % 50])[0] == 200
        if number % 200 == 199:
            used.append([each.memory_info().rss / 1e6 for each in watched])
            print(number + 1, *(f"{each:.1f}" for each in used[-1]))
    for first, last in zip(used[0], used[-1], strict=True):
        assert last < first + 20
