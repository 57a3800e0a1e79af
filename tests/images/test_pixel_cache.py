import dataclasses
import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import joblib
import numpy as np
import pytest
from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import (
    ImageFiles,
    PixelCache,
    PixelRequest,
    prefetch_batches,
)
from deepfake_detection.parameters import PreprocessingParameters

IMAGES = 70  # more than two tasks' worth


def sizes(resize: int = 16, crop: int = 12, mean: float = 0.0) -> PreprocessingParameters:
    return PreprocessingParameters(resize=resize, crop=crop, mean=(mean,) * 3, std=(1, 1, 1))


def colour_of(number: int) -> tuple[int, int, int]:
    return (number * 3, 255 - number, 7)


@pytest.fixture(scope="module")
def images(tmp_path_factory, encode, put_files) -> Path:
    """Images of one colour each, by which their pixels are known; `copies` holds one twice."""
    files = {
        f"{number}.png": encode(Image.new("RGB", (16 + number % 5, 18), colour_of(number)))
        for number in range(IMAGES)
    }
    files["copies/5.png"] = files["5.png"]
    return put_files(tmp_path_factory.mktemp("images"), files)


def request_for(folder: Path, *names: str, **changed: object) -> PixelRequest:
    hashes = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names]
    return PixelRequest(folder, list(names), hashes, **{"preprocessing": sizes(), **changed})


@pytest.fixture(scope="module")
def everything(images: Path) -> PixelRequest:
    return request_for(images, *(f"{number}.png" for number in range(IMAGES)), "copies/5.png")


@pytest.fixture(scope="module")
def stores(tmp_path_factory, everything) -> PixelCache:
    built = PixelCache(tmp_path_factory.mktemp("stores") / "pixel_cache")
    built.build(everything)
    return built


@pytest.fixture
def few(tmp_path: Path, photograph, encode, put_files) -> PixelRequest:
    """Three images that a test may harm."""
    files = {f"{number}.png": encode(photograph(number)) for number in range(3)}
    return request_for(put_files(tmp_path / "images", files), *files)


def kept_in(stores: PixelCache) -> list[str]:
    return sorted(path.name for path in stores.folder.iterdir()) if stores.folder.exists() else []


def test_each_image_has_its_pixels_whatever_the_order(stores, everything):
    pixels = stores.open(everything.sha256s[::-1], sizes())
    assert pixels.array.shape == (IMAGES, 12, 12, 3)
    assert pixels.array.dtype == np.uint8
    order = np.random.default_rng(0).permutation(len(everything.sha256s))
    rows = pixels.rows([everything.sha256s[at] for at in order])
    for at, row in zip(order, rows, strict=True):
        number = int(Path(everything.paths[at]).stem)
        assert (pixels.array[row] == colour_of(number)).all()


def test_a_copy_has_no_row_of_its_own(stores, everything):
    rows = stores.open(everything.sha256s, sizes()).rows(everything.sha256s)
    assert rows[-1] == rows[5]
    assert len(set(rows)) == IMAGES


def test_a_store_is_found_by_its_images_not_by_their_order_or_number(stores, everything):
    hashes = list(dict.fromkeys(everything.sha256s))
    assert len(stores.open(hashes[::-1], sizes()).array) == IMAGES


def test_a_hash_that_ends_in_zeros_is_found(tmp_path, encode, put_files):
    """Byte strings lose trailing zeros in NumPy."""
    contents = (encode(Image.new("RGB", (16, 16), (i % 256, i // 256, 0))) for i in range(65_536))
    zeros = next(each for each in contents if hashlib.sha256(each).digest().endswith(b"\0"))
    other = encode(Image.new("RGB", (16, 16), (1, 2, 3)))
    folder = put_files(tmp_path / "images", {"zeros.png": zeros, "other.png": other})
    stores, request = (
        PixelCache(tmp_path / "stores"),
        request_for(folder, "zeros.png", "other.png"),
    )
    stores.build(request)
    pixels = stores.open(request.sha256s, sizes())
    row = pixels.rows(request.sha256s[1:])[0]
    assert (pixels.array[row] == (1, 2, 3)).all()
    assert pixels.rows(request.sha256s[:1])[0] == 1 - row


def test_an_array_cannot_be_changed(stores, everything):
    with pytest.raises(ValueError, match="read-only"):
        stores.open(everything.sha256s, sizes()).array[0] = 0


def test_an_unknown_image_has_no_row(stores, everything, tmp_path):
    with pytest.raises(KeyError, match="does not hold all"):
        stores.open(everything.sha256s, sizes()).rows([everything.sha256s[0], "f" * 64])
    assert len(stores.open(everything.sha256s, sizes()).rows([])) == 0
    nothing = PixelCache(tmp_path)
    nothing.build(PixelRequest(tmp_path, [], [], sizes()))
    with pytest.raises(KeyError, match="does not hold all"):
        nothing.open([], sizes()).rows(everything.sha256s)


def test_a_store_is_built_once(stores, everything):
    before = {path: path.stat().st_mtime_ns for path in stores.folder.rglob("*")}
    stores.build(everything)
    normalised = PixelRequest(
        everything.folder, everything.paths, everything.sha256s, sizes(mean=0.5)
    )
    stores.build(normalised)  # normalisation plays no part in the pixels
    assert {path: path.stat().st_mtime_ns for path in stores.folder.rglob("*")} == before


def test_other_images_or_sizes_make_another_store(few, tmp_path):
    stores = PixelCache(tmp_path / "stores")
    requests = [
        few,
        request_for(few.folder, "0.png", "1.png"),
        request_for(few.folder, *few.paths, preprocessing=sizes(crop=11)),
        request_for(few.folder, *few.paths, preprocessing=sizes(resize=17)),
    ]
    for request in requests:
        stores.build(request)
    assert len(kept_in(stores)) == 4
    for request in requests:
        pixels = stores.open(request.sha256s, request.preprocessing)
        assert len(pixels.array) == len(request.paths)
        assert pixels.array.shape[1] == request.preprocessing.crop


def test_a_store_that_was_not_built_is_an_error(few, tmp_path):
    with pytest.raises(UserError, match=r"no pixel cache of these 3 images .* data_preparation"):
        PixelCache(tmp_path / "stores").open(few.sha256s, sizes())


def overwrite(path: Path) -> None:
    Image.new("RGB", (20, 20)).save(path)


@pytest.mark.parametrize(
    ("harm", "said"),
    [(Path.unlink, r"1\.png cannot be read any more"), (overwrite, r"1\.png has changed since")],
    ids=["missing", "changed"],
)
def test_an_image_that_is_not_as_indexed_leaves_nothing_behind(few, tmp_path, harm, said):
    harm(few.folder / "1.png")
    stores = PixelCache(tmp_path / "stores")
    with pytest.raises(UserError, match=f"{said}.*data_preparation"):
        stores.build(few)
    assert kept_in(stores) == []


def test_a_full_disk_is_said_and_leaves_nothing_behind(few, tmp_path, monkeypatch):
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    stores = PixelCache(tmp_path / "stores")
    with pytest.raises(UserError, match=r"disk is full: a pixel cache of 3 images needs .* MB"):
        stores.build(few)
    assert kept_in(stores) == []
    monkeypatch.undo()
    stores.build(few)
    assert len(kept_in(stores)) == 1


def test_a_store_has_the_permissions_of_its_folder(few, tmp_path):
    stores = PixelCache(tmp_path / "stores")
    stores.build(few)
    modes = {path.stat().st_mode & 0o777 for path in (stores.folder, *stores.folder.iterdir())}
    assert len(modes) == 1


# ---------------------------------------------------------------- damaged, changed, left behind


@pytest.mark.parametrize("harmed", ["pixels.npy", "sha256.npy"])
def test_a_damaged_store_is_said_and_built_again(few, tmp_path, harmed, caplog):
    stores = PixelCache(tmp_path / "stores")
    stores.build(few)
    file = next(stores.folder.glob(f"*/{harmed}"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"is damaged .* Delete it"):
        stores.open(few.sha256s, sizes()).rows(few.sha256s)
    stores.build(few)
    assert "is damaged" in caplog.text
    assert file.read_bytes() == whole


def test_changed_images_make_a_store_of_their_own_and_it_is_said(few, tmp_path, caplog):
    caplog.set_level("INFO")
    stores = PixelCache(tmp_path / "stores")
    stores.build(few)
    assert "another is made" not in caplog.text
    overwrite(few.folder / "1.png")
    changed = request_for(few.folder, *few.paths)
    stores.build(changed)
    assert "The images are not those of the pixel caches at these sizes" in caplog.text
    pixels = stores.open(changed.sha256s, sizes())
    assert not pixels.array[pixels.rows(changed.sha256s[1:2])].any()


def test_what_a_killed_build_left_is_removed_after_a_day(few, tmp_path):
    stores = PixelCache(tmp_path / "stores")
    old, young = stores.folder / ".partial-old", stores.folder / ".partial-young"
    for left in (old, young):
        left.mkdir(parents=True)
        (left / "pixels.npy").write_bytes(b"half")
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    os.utime(old, (two_days_ago, two_days_ago))
    stores.build(few)
    assert not old.exists()
    assert young.exists()  # another run may be writing it


# ---------------------------------------------------------------- straight from the files


def test_files_give_the_pixels_of_a_store(everything, stores, tmp_path):
    listed = PixelCache(tmp_path / "listed")
    listed.build(dataclasses.replace(everything, stored=False))
    assert not list(listed.folder.rglob("*.npy"))
    files, store = (each.open(everything.sha256s, sizes()) for each in (listed, stores))
    assert files.array.shape == store.array.shape
    assert (files.sha256s == store.sha256s).all()
    order = np.random.default_rng(1).permutation(IMAGES)
    rows = store.rows([everything.sha256s[at] for at in order])
    batches = [rows[at : at + 16] for at in range(0, len(rows), 16)]
    for ours, theirs in zip(
        prefetch_batches(files.array, batches), prefetch_batches(store.array, batches), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


class _CountingFiles(ImageFiles):
    """Counts the batches that were read, in whatever thread."""

    def __getitem__(self, rows):
        with (self.folder / "read").open("a") as count:
            count.write("x")
        return np.zeros((len(rows), *self.shape[1:]), np.uint8)


def test_no_more_is_prefetch_batches_than_cores_can_use(tmp_path):
    """Or else a slow network would find the whole set in memory."""
    files = _CountingFiles(tmp_path, ["a.png"] * 200, ["0" * 64] * 200, sizes())
    reading = prefetch_batches(files, np.arange(200).reshape(100, 2))
    next(reading)
    time.sleep(0.5)
    assert (tmp_path / "read").stat().st_size <= 2 * joblib.cpu_count()
    assert sum(1 for _ in reading) == 99
    assert (tmp_path / "read").stat().st_size == 100


@pytest.mark.parametrize("array", ["store", "files"])
def test_reading_ahead_reads_nothing_of_nothing(everything, tmp_path, array):
    kept = PixelCache(tmp_path / array)
    kept.build(dataclasses.replace(everything, stored=array == "store"))
    assert list(prefetch_batches(kept.open(everything.sha256s, sizes()).array, [])) == []


def test_a_file_that_changed_since_is_named_when_it_is_read(few, tmp_path):
    stores = PixelCache(tmp_path / "stores")
    stores.build(dataclasses.replace(few, stored=False))
    overwrite(few.folder / "1.png")
    pixels = stores.open(few.sha256s, sizes())
    with pytest.raises(UserError, match=r"1\.png has changed since it was indexed"):
        list(prefetch_batches(pixels.array, [pixels.rows(few.sha256s)]))


def test_two_processes_may_build_the_same_store_at_once(everything, tmp_path, stores):
    code = f"""
        import sys, time
        from pathlib import Path
        from deepfake_detection.images.pixel_cache import PixelRequest, PixelCache
        from deepfake_detection.parameters import PreprocessingParameters

        sizes = PreprocessingParameters(resize=16, crop=12, mean=(0, 0, 0), std=(1, 1, 1))
        request = PixelRequest(
            Path({str(everything.folder)!r}), {everything.paths!r}, {everything.sha256s!r}, sizes
        )
        sys.stdin.readline()
        PixelCache(Path({str(tmp_path / "stores")!r})).build(request)
    """
    one_core = {**os.environ, "LOKY_MAX_CPU_COUNT": "1"}  # no workers, which start slowly
    builders = [
        subprocess.Popen(
            [sys.executable, "-c", dedent(code)], stdin=subprocess.PIPE, text=True, env=one_core
        )
        for _ in range(2)
    ]
    for builder in builders:
        builder.stdin.write("start\n")
        builder.stdin.flush()
    assert [builder.wait(timeout=60) for builder in builders] == [0, 0]
    for builder in builders:
        builder.stdin.close()
    assert kept_in(PixelCache(tmp_path / "stores")) == kept_in(stores)
    twice = PixelCache(tmp_path / "stores").open(everything.sha256s, sizes())
    np.testing.assert_array_equal(twice.array, stores.open(everything.sha256s, sizes()).array)
