import dataclasses
import errno
import hashlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_samples import make_sizes
from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import (
    ImageFiles,
    PixelCache,
    PixelRequest,
    prefetch_batches,
)

IMAGES = 70  # more than two tasks' worth
SIZES = make_sizes(16, 12)


def colour_of(number):
    return (number * 3, 255 - number, 7)


@pytest.fixture(scope="module")
def images(tmp_path_factory, encode, put_files):
    """Images of one colour each, by which their pixels are known; `copies` holds one twice."""
    files = {
        f"{number}.png": encode(Image.new("RGB", (16 + number % 5, 18), colour_of(number)))
        for number in range(IMAGES)
    }
    files["copies/5.png"] = files["5.png"]
    return put_files(tmp_path_factory.mktemp("images"), files)


def request_for(folder, *names, **changed):
    hashes = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    return PixelRequest(folder, list(names), hashes, **{"preprocessing": SIZES, **changed})


@pytest.fixture(scope="module")
def everything(images):
    return request_for(images, *(f"{number}.png" for number in range(IMAGES)), "copies/5.png")


@pytest.fixture(scope="module")
def caches(tmp_path_factory, everything):
    built = PixelCache(tmp_path_factory.mktemp("caches") / "pixel_cache")
    built.build(everything)
    return built


@pytest.fixture
def few(tmp_path, photograph, encode, put_files):
    """Three images that a test may harm."""
    files = {f"{number}.png": encode(photograph(number)) for number in range(3)}
    return request_for(put_files(tmp_path / "images", files), *files)


@pytest.fixture
def own(tmp_path):
    return PixelCache(tmp_path / "caches")


def kept_in(caches):
    return sorted(path.name for path in caches.folder.iterdir()) if caches.folder.exists() else []


def test_each_image_has_its_pixels_whatever_the_order(caches, everything):
    """A copy has no row of its own, and the order and number of hashes do not matter."""
    pixels = caches.open(list(dict.fromkeys(everything.sha256s))[::-1], SIZES)
    assert pixels.array.shape == (IMAGES, 12, 12, 3)
    assert pixels.array.dtype == np.uint8
    order = np.random.default_rng(0).permutation(len(everything.sha256s))
    rows = pixels.rows([everything.sha256s[at] for at in order])
    for at, row in zip(order, rows, strict=True):
        number = int(Path(everything.paths[at]).stem)
        assert (pixels.array[row] == colour_of(number)).all()
    assert len(set(rows)) == IMAGES
    with pytest.raises(ValueError, match="read-only"):
        pixels.array[0] = 0


def test_a_hash_that_ends_in_zeros_is_found(tmp_path, encode, put_files):
    """Byte strings lose trailing zeros in NumPy."""
    files = (encode(Image.new("RGB", (16, 16), (i % 256, i // 256, 0))) for i in range(65_536))
    zeros = next(each for each in files if hashlib.sha256(each).digest().endswith(b"\0"))
    other = encode(Image.new("RGB", (16, 16), (1, 2, 3)))
    folder = put_files(tmp_path / "images", {"zeros.png": zeros, "other.png": other})
    caches, request = PixelCache(tmp_path), request_for(folder, "zeros.png", "other.png")
    caches.build(request)
    pixels = caches.open(request.sha256s, SIZES)
    of_zeros, row = pixels.rows(request.sha256s)
    assert (pixels.array[row] == (1, 2, 3)).all()
    assert of_zeros == 1 - row


def test_a_cache_that_was_not_built_and_an_unknown_image_are_errors(caches, everything, own):
    with pytest.raises(UserError, match=r"71 images .*data_preparation"):
        own.open(everything.sha256s, SIZES)
    own.build(PixelRequest(own.folder, [], [], SIZES))
    for pixels in (caches.open(everything.sha256s, SIZES), own.open([], SIZES)):
        assert len(pixels.rows([])) == 0
        with pytest.raises(KeyError, match="pixel cache"):
            pixels.rows([everything.sha256s[0], "f" * 64])


def test_a_cache_is_built_once(caches, everything):
    before = {path: path.stat().st_mtime_ns for path in caches.folder.rglob("*")}
    caches.build(everything)
    # normalisation plays no part in the pixels
    caches.build(dataclasses.replace(everything, preprocessing=make_sizes(16, 12, mean=0.5)))
    assert {path: path.stat().st_mtime_ns for path in caches.folder.rglob("*")} == before


def test_other_images_or_sizes_make_another_store(few, own):
    requests = [
        few,
        request_for(few.folder, "0.png", "1.png"),
        request_for(few.folder, *few.paths, preprocessing=make_sizes(16, 11)),
        request_for(few.folder, *few.paths, preprocessing=make_sizes(17, 12)),
    ]
    for request in requests:
        own.build(request)
    overwrite(few.folder / "1.png")
    changed = request_for(few.folder, *few.paths)
    own.build(changed)
    assert len(kept_in(own)) == 5
    # all with the permissions of their folder
    assert len({path.stat().st_mode for path in (own.folder, *own.folder.iterdir())}) == 1
    for request in (*requests, changed):
        pixels = own.open(request.sha256s, request.preprocessing)
        assert len(pixels.array) == len(request.paths)
        assert pixels.array.shape[1] == request.preprocessing.crop
    pixels = own.open(changed.sha256s, SIZES)
    assert not pixels.array[pixels.rows(changed.sha256s[1:2])].any()


@pytest.mark.parametrize("stored", [True, False])
def test_images_are_found_in_a_cache_that_holds_more(few, own, stored):
    """A split may leave images of the index out."""
    own.build(dataclasses.replace(few, stored=stored))
    whole, part = own.open(few.sha256s, SIZES), few.sha256s[:2]
    pixels = own.open(part, SIZES)
    found, expected = (each.array[each.rows(part)] for each in (pixels, whole))
    np.testing.assert_array_equal(found, expected)
    for asked in ((["f" * 64, *part], SIZES), (part, make_sizes(16, 11))):
        with pytest.raises(UserError, match="data_preparation"):
            own.open(*asked)
    # a damaged one is passed over
    for path in own.folder.rglob("*.json" if not stored else "pixels.npy"):
        path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(UserError, match="data_preparation"):
        own.open(part, SIZES)


def overwrite(path):
    Image.new("RGB", (20, 20)).save(path)


@pytest.mark.parametrize("harm", [Path.unlink, overwrite], ids=["missing", "changed"])
def test_an_image_that_is_not_as_indexed_leaves_nothing_behind(few, own, harm):
    harm(few.folder / "1.png")
    with pytest.raises(UserError, match=r"1\.png.*data_preparation"):
        own.build(few)
    assert kept_in(own) == []


def test_a_full_disk_is_an_error_and_leaves_nothing_behind(few, own, monkeypatch):
    full = Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(UserError, match=r"3 images.* MB.*pixels=files"):
        own.build(few)
    assert kept_in(own) == []
    monkeypatch.undo()
    own.build(few)
    assert len(kept_in(own)) == 1


@pytest.mark.parametrize("harmed", ["pixels.npy", "sha256.npy"])
def test_a_damaged_cache_is_an_error_and_built_again(few, own, harmed, caplog):
    own.build(few)
    file = next(own.folder.glob(f"*/{harmed}"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=str(file.parent)):
        own.open(few.sha256s, SIZES).rows(few.sha256s)
    own.build(few)
    assert str(file.parent) in caplog.text
    assert file.read_bytes() == whole


@given(place=st.floats(0, 0.999), bit=st.integers(0, 7))
@settings(max_examples=10, deadline=None)
def test_pixels_that_changed_on_the_disk_are_made_again(everything, caches, place, bit):
    (file,) = caches.folder.glob("*/pixels.npy")
    whole = file.read_bytes()
    header, changed = 128, bytearray(whole)
    changed[header + int(place * (len(whole) - header))] ^= 1 << bit
    file.write_bytes(changed)
    caches.build(everything)
    assert file.read_bytes() == whole


def test_what_a_killed_build_left_is_removed_after_a_day(few, own, put_files):
    old, young = own.folder / ".partial-old", own.folder / ".partial-young"
    for left in (old, young):
        put_files(left, {"pixels.npy": b"half"})
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    os.utime(old, (two_days_ago, two_days_ago))
    own.build(few)
    assert not old.exists()
    assert young.exists()  # another run may be writing it


def test_files_give_the_pixels_of_a_store(everything, caches, tmp_path):
    listed = PixelCache(tmp_path / "listed")
    listed.build(dataclasses.replace(everything, stored=False))
    assert not list(listed.folder.rglob("*.npy"))
    files, cache = (each.open(everything.sha256s, SIZES) for each in (listed, caches))
    assert files.array.shape == cache.array.shape
    assert (files.sha256s == cache.sha256s).all()
    order = np.random.default_rng(1).permutation(IMAGES)
    batches = np.split(cache.rows([everything.sha256s[at] for at in order]), [16, 32, 48, 64])
    for ours, batch in zip(prefetch_batches(files.array, batches), batches, strict=True):
        np.testing.assert_array_equal(ours, cache.array[batch])
    for pixels in (files, cache):
        assert list(prefetch_batches(pixels.array, [])) == []


class _CountingFiles(ImageFiles):
    """Counts the batches that were read, in whatever thread."""

    def __getitem__(self, rows):
        with (self.folder / "read").open("a") as count:
            count.write("x")
        return np.zeros((len(rows), *self.shape[1:]), np.uint8)


def test_no_more_is_prefetched_than_cores_can_use(tmp_path):
    """Or else a slow network would find the whole set in memory."""
    files = _CountingFiles(tmp_path, ["a.png"] * 200, ["0" * 64] * 200, SIZES)
    reading = prefetch_batches(files, np.arange(200).reshape(100, 2))
    next(reading)
    time.sleep(0.5)
    assert (tmp_path / "read").stat().st_size <= 2 * joblib.cpu_count()
    assert sum(1 for _ in reading) == 99
    assert (tmp_path / "read").stat().st_size == 100


def test_a_file_that_changed_since_is_named_when_it_is_read(few, own):
    own.build(dataclasses.replace(few, stored=False))
    overwrite(few.folder / "1.png")
    pixels = own.open(few.sha256s, SIZES)
    with pytest.raises(UserError, match=r"1\.png"):
        list(prefetch_batches(pixels.array, [pixels.rows(few.sha256s)]))


def test_two_processes_may_build_the_same_cache_at_once(everything, tmp_path, own, caches):
    (tmp_path / "build").write_bytes(pickle.dumps((own, everything)))
    code = "import pickle, sys; cache, request = pickle.load(open(sys.argv[1], 'rb')); "
    code += "sys.stdin.readline(); cache.build(request)"
    command = [sys.executable, "-c", code, tmp_path / "build"]
    one_core = {**os.environ, "LOKY_MAX_CPU_COUNT": "1"}  # no workers, which start slowly
    builders = [subprocess.Popen(command, stdin=subprocess.PIPE, env=one_core) for _ in range(2)]
    for builder in builders:
        builder.stdin.write(b"start\n")
        builder.stdin.close()
    assert [builder.wait(timeout=60) for builder in builders] == [0, 0]
    assert kept_in(own) == kept_in(caches)
    twice, once = (each.open(everything.sha256s, SIZES).array for each in (own, caches))
    np.testing.assert_array_equal(twice, once)
