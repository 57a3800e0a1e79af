"""Pixel stores: the preprocessed pixels of a set of images, once on disk, memory-mapped."""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import PIL

from deepfake_detection.detector.fingerprints import pack_hashes
from deepfake_detection.detector.pictures import (
    UnreadablePictureError,
    map_in_processes,
    open_picture,
)
from deepfake_detection.detector.preprocessing import crop_pixels
from deepfake_detection.errors import UserError
from deepfake_detection.parameters import PreprocessingParameters

log = logging.getLogger(__name__)

# Raised when the same images and sizes would give other pixels than before.
_FORMAT = 1
_ROWS_OF_A_TASK = 32

Digests = np.ndarray[tuple[int], np.dtype[np.bytes_]]


@dataclass(frozen=True)
class PixelRequest:
    """Which pixels are wanted: images, and what is done to them. Nothing is read yet.

    Attributes:
        folder: The image folder.
        paths: Of the images, relative to the folder.
        sha256s: Of the files, hexadecimal, in the same order.
        preprocessing: Sizes in pixels; the normalisation plays no part.
    """

    folder: Path
    paths: Sequence[str]
    sha256s: Sequence[str]
    preprocessing: PreprocessingParameters


@dataclass(frozen=True)
class Pixels:
    """Pixels of a set of images.

    Attributes:
        array: uint8, [images, crop, crop, 3], 0…255, memory-mapped and read-only.
        sha256s: Of the images, bytes of 32, ascending: the order of the array's rows.
    """

    array: np.ndarray[tuple[int, int, int, int], np.dtype[np.uint8]]
    sha256s: Digests

    def rows(self, sha256s: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
        """Rows of the array that hold these images (hexadecimal SHA-256)."""
        wanted = _digests(sha256s)
        if not np.isin(wanted, self.sha256s).all():
            raise KeyError("the pixel store does not hold all of these images")
        return np.searchsorted(self.sha256s, wanted)


@dataclass(frozen=True)
class PixelStores:
    """The folder of pixel stores. Each is found by what it holds, so none is ever out of date."""

    folder: Path

    def open(self, sha256s: Sequence[str], preprocessing: PreprocessingParameters) -> Pixels:
        """Open the store of just these images at these sizes.

        Raises:
            UserError: If it was not built.
        """
        path = self.folder / _key(sha256s, preprocessing)
        try:
            array = np.load(path / "pixels.npy", mmap_mode="r", allow_pickle=False)
            digests = np.load(path / "sha256.npy", allow_pickle=False)
        except FileNotFoundError:
            raise UserError(
                f"there is no pixel store of these {len(sha256s)} images in {self.folder}: the "
                "split is of another image index. Run kedro run --pipelines data_preparation again."
            ) from None
        return Pixels(array, digests)

    def build(self, request: PixelRequest) -> None:
        """Build the store of these images, unless it is there.

        It is written beside its place and then renamed, so that it appears whole or not at all,
        and two runs that build the same one don't harm each other.

        Raises:
            UserError: If a file has changed since it was indexed, or the disk is full.
        """
        path = self.folder / _key(request.sha256s, request.preprocessing)
        if path.exists():
            log.info("Pixel store %s is there already", path)
            return
        partial_path = self.folder / f".partial-{uuid4().hex}"
        partial_path.mkdir(parents=True)
        try:
            _write(request, partial_path)
            _move(partial_path, path)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise UserError(_full_disk_message(request, self.folder)) from None
            raise
        finally:
            shutil.rmtree(partial_path, ignore_errors=True)


def _move(partial_path: Path, path: Path) -> None:
    try:
        partial_path.rename(path)
    except OSError:
        # another run was faster; its store holds the same
        if not path.exists():
            raise


def _key(sha256s: Sequence[str], preprocessing: PreprocessingParameters) -> str:
    content = hashlib.sha256()
    # Pillow's decoders and filters change now and then, in the last bit
    how = [_FORMAT, PIL.__version__, preprocessing.resize, preprocessing.crop]
    content.update(json.dumps(how).encode())
    content.update(_unique_digests(sha256s).tobytes())
    size = f"{preprocessing.resize}-{preprocessing.crop}"
    return f"{size}-{content.hexdigest()[:16]}"


def _digests(sha256s: Sequence[str]) -> Digests:
    packed = pack_hashes(sha256s)
    return packed.view("S32").ravel() if len(packed) else np.empty(0, "S32")


def _unique_digests(sha256s: Sequence[str]) -> Digests:
    return np.unique(_digests(sha256s))


def _write(request: PixelRequest, folder: Path) -> None:
    digests = _unique_digests(request.sha256s)
    path_of = dict(zip(request.sha256s, request.paths, strict=True))
    # numpy cuts trailing zero bytes off a single byte string
    sha256s = [bytes(digest).ljust(32, b"\0").hex() for digest in digests]
    crop = request.preprocessing.crop
    shape = (len(digests), crop, crop, 3)
    log.info(
        "Building a pixel store of %d images at %d×%d pixels (%.1f MB)",
        len(digests), crop, crop, np.prod(shape) / 1e6,
    )  # fmt: skip
    _allocate(folder / "pixels.npy", shape)
    tasks = [
        [
            (request.folder / path_of[sha256], sha256)
            for sha256 in sha256s[at : at + _ROWS_OF_A_TASK]
        ]
        for at in range(0, len(sha256s), _ROWS_OF_A_TASK)
    ]
    write = partial(_write_rows, folder / "pixels.npy", request.preprocessing)
    for problem in map_in_processes(
        write,
        [(at * _ROWS_OF_A_TASK, task) for at, task in enumerate(tasks)],
        description="Pixel store",
        total=len(tasks),
    ):
        if problem:
            raise UserError(problem)
    np.save(folder / "sha256.npy", digests)


def _allocate(path: Path, shape: tuple[int, ...]) -> None:
    """Make an array file with its room on disk taken: a full disk is an error, not a crash."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    elif shutil.disk_usage(path.parent).free < np.prod(shape):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write_rows(
    array_path: Path,
    preprocessing: PreprocessingParameters,
    task: tuple[int, list[tuple[Path, str]]],
) -> str | None:
    """Write the pixels of some images from a row on; the message of the first problem, if any."""
    start, images = task
    array = np.load(array_path, mmap_mode="r+")
    for row, (path, sha256) in enumerate(images, start):
        try:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                return (
                    f"{path} has changed since it was indexed. "
                    "Run kedro run --pipelines data_preparation again."
                )
            array[row] = crop_pixels(open_picture(content), preprocessing)
        except (OSError, UnreadablePictureError) as error:
            return (
                f"{path} cannot be read any more ({getattr(error, 'strerror', None) or error}). "
                "Run kedro run --pipelines data_preparation again."
            )
    return None


def _full_disk_message(request: PixelRequest, folder: Path) -> str:
    size = len(request.sha256s) * request.preprocessing.crop**2 * 3 / 1e9
    return (
        f"the disk is full: a pixel store of {len(request.sha256s)} images needs {size:.1f} GB in "
        f"{folder}. Remove stores that are no longer used from there; each is made again on demand."
    )
