"""Broken, endless and huge files are answered, and the page goes on."""

import json
import random
import time

import numpy as np
import psutil
import pytest
from picture_samples import png_of_size
from PIL import Image

# Of the page's memory, which its libraries fill in the first requests
_MOST_GROWTH = 40e6


@pytest.fixture(scope="module")
def hostile_files(people, encode, photograph):
    """A function from a number to a hostile file, and whether it has to be refused."""
    whole = Image.open(people / "two.png").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"]
    pictures = [encode(whole, kind) for kind in kinds]
    pictures.append(encode(whole, "JPEG", progressive=True))
    clips = [(people / name).read_bytes() for name in ("two.mp4", "halves.mov", "one.webm")]
    scans = encode(Image.new("L", (7000, 7000), 3), "JPEG", progressive=True)
    scan = scans[scans.rindex(b"\xff\xc4") : -2]
    face = np.asarray(whole.resize((53, 20)))[:, :26]
    crowd = Image.fromarray(np.tile(face, (100, 100, 1)))
    fixed = [
        scans[:-2] + scan * 180 + b"\xff\xd9",  # endless
        png_of_size(60_000, 60_000),  # huge
        encode(Image.new("1", (7000, 7000)), "PNG"),  # 49 megapixels in 7 kB
        encode(crowd, "JPEG"),  # 10,000 faces
        (people / "sound.mp4").read_bytes(),
        encode(whole, "JPEG", exif=exif),  # rotated
        encode(photograph(3, (300, 200)), "JPEG"),  # no faces
        (people / "long.mp4").read_bytes(),
    ]

    starts = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x20ftypisom", b""]

    def make(number):
        chance = random.Random(number)  # noqa: S311
        if number % 5 == 0:
            return fixed[number // 5 % len(fixed)]
        if number % 5 == 1:
            return chance.choice(starts) + chance.randbytes(chance.randrange(5000))
        content = bytearray(chance.choice(pictures if number % 5 < 4 else clips))
        if number % 2:
            return bytes(content[: chance.randrange(1, len(content))])
        for _ in range(20):
            content[chance.randrange(len(content))] = chance.randrange(256)
        return bytes(content)

    return make


def send_all(page, make, count):
    """Send files; the answers by status, and the page's memory after each quarter."""
    process = psutil.Process(page.process.pid)
    statuses, used = {}, []
    for number in range(count):
        started = time.monotonic()
        status, _, answer = page.score(make(number), "pictures=1")
        answer = json.loads(answer)
        assert status in {200, 400, 413, 422}, (number, status, answer)
        assert answer.get("verdict") or answer["error"], number
        assert "\n" not in (answer["error"] or "")
        assert len(answer.get("faces") or ()) <= 16
        assert time.monotonic() - started < 20, number
        statuses[status] = statuses.get(status, 0) + 1
        if number % (count // 4) == count // 4 - 1:
            used.append(process.memory_info().rss)
    print(statuses, *(f"{each / 1e6:.0f} MB" for each in used))
    return statuses, used


def check_alive(page, people):
    status, _, answer = page.score((people / "two.png").read_bytes())
    assert (status, len(json.loads(answer)["faces"])) == (200, 2)
    assert "Traceback" not in page.complaints()
    # one process decodes, and those that were ended are gone
    assert len(psutil.Process(page.process.pid).children()) == 1


def test_hostile_files_are_answered(face_page, hostile_files, people):
    statuses, _ = send_all(face_page, hostile_files, 40)
    assert statuses.keys() == {200, 400, 413, 422}
    check_alive(face_page, people)


@pytest.mark.slow
def test_five_hundred_hostile_files_leave_memory_flat(face_page, hostile_files, people):
    send_all(face_page, hostile_files, 100)
    _, used = send_all(face_page, lambda number: hostile_files(number + 100), 500)
    assert used[-1] < used[0] + _MOST_GROWTH
    check_alive(face_page, people)
