"""Pixel caches: the preprocessed pixels of a set of images, in one memory-mapped file.

Where a set does not fit on the disk, a list of its files takes the array's place, and the files are
decoded at each access.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import joblib
import numpy as np
import PIL

from deepfake_detection.atomic_write import atomic_write, naming_disk_errors, remove_stale
from deepfake_detection.errors import UserError, first_line
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.prefetch import prefetch
from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.images.reading import open_indexed_picture
from deepfake_detection.parameters import PreprocessingParameters

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# Increased when the same images and sizes give other pixels or files than before.
_FORMAT = 2
_ARRAY, _DIGESTS, _CHECKSUMS = "pixels.npy", "sha256.npy", "crc32.npy"

Digests = np.ndarray[tuple[int], np.dtype[np.bytes_]]
Rows = np.ndarray[tuple[int], np.dtype[np.intp]]


@dataclass(frozen=True)
class PixelRequest:
    """Images and their preprocessing; nothing is read yet."""

    folder: Path
    paths: Sequence[str]  # relative to the folder
    sha256s: Sequence[str]  # of the files, hexadecimal, in the same order
    preprocessing: PreprocessingParameters  # without its normalisation
    stored: bool = True  # in an array; else the files are decoded at each access

    @classmethod
    def of(
        cls,
        folder: Path,
        images: "pd.DataFrame",
        preprocessing: PreprocessingParameters,
        pixels: str,
    ) -> "PixelRequest":
        """Ask for the images of a table with columns path and sha256, from `cache` or `files`."""
        paths, sha256s = images["path"].tolist(), images["sha256"].tolist()
        return cls(folder, paths, sha256s, preprocessing, stored=pixels == "cache")

    def files(self) -> list[tuple[str, str]]:
        """Path and SHA-256 of each different image, in the order of the array's rows."""
        path_of = dict(zip(self.sha256s, self.paths, strict=True))
        return [(path_of[sha256], sha256) for sha256 in _hex(_unique_digests(self.sha256s))]


@dataclass(frozen=True)
class ImageFiles:
    """Image files with the interface of a cache's array; decoded at each access."""

    folder: Path
    paths: Sequence[str]  # relative to the folder
    sha256s: Sequence[str]  # of the files, hexadecimal, ascending; in the same order
    preprocessing: PreprocessingParameters

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, height, width, channels."""
        crop = self.preprocessing.crop
        return len(self.paths), crop, crop, 3

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Decode these files, uint8, [rows, crop, crop, 3]; a UserError if one has changed."""
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for at, row in enumerate(rows.tolist()):
            path = self.folder / self.paths[row]
            image = open_indexed_picture(path, self.sha256s[row])
            pixels[at] = crop_pixels(image, self.preprocessing)
        return pixels


# uint8, [images, crop, crop, 3], 0…255
PixelArray = np.ndarray[Any, np.dtype[np.uint8]] | ImageFiles


@dataclass(frozen=True)
class Pixels:
    """Pixels of a set of images."""

    array: PixelArray  # memory-mapped and read-only, or the files
    sha256s: Digests  # of the images, 32 bytes each, ascending: the order of the array's rows

    def rows(self, sha256s: Sequence[str]) -> Rows:
        """Rows of the array that hold these images (hexadecimal SHA-256)."""
        wanted = _digests(sha256s)
        if not np.isin(wanted, self.sha256s).all():
            raise KeyError("the pixel cache does not hold all of these images")
        return np.searchsorted(self.sha256s, wanted)


@dataclass(frozen=True)
class PixelCache:
    """The folder of pixel caches. The name of each depends on its content, so none is outdated."""

    folder: Path

    def open(self, sha256s: Sequence[str], preprocessing: PreprocessingParameters) -> Pixels:
        """Open a cache of these images at these sizes, or a list of their files.

        It may hold others too: a split may leave images of the index out.
        """
        path = self.folder / _key(sha256s, preprocessing)
        try:
            return _load(path, sha256s, preprocessing.crop)
        except FileNotFoundError:
            pass
        # NumPy raises errors of many kinds for a damaged header
        except Exception as error:
            raise UserError(
                f"{path} is damaged ({first_line(error)}). Delete it, and run again."
            ) from error
        try:
            return _open_list(_list_of(path), sha256s, preprocessing)
        except FileNotFoundError:
            pass
        if (larger := self._open_larger(sha256s, preprocessing)) is not None:
            return larger
        raise UserError(
            f"there is no pixel cache of these {len(sha256s)} images in {self.folder}: the "
            "split is of another image index. Run kedro run --pipelines data_preparation again."
        )

    def _open_larger(
        self, sha256s: Sequence[str], preprocessing: PreprocessingParameters
    ) -> Pixels | None:
        """Open a cache, or a list of files, that holds these images among others."""
        wanted = _unique_digests(sha256s)
        for path in sorted(self.folder.glob(f"{_sizes(preprocessing)}-*")):
            # one that is damaged, or of an older version, is passed over
            with suppress(Exception):
                stored = path.is_dir()
                held = _hex(np.load(path / _DIGESTS)) if stored else _read_list(path)["sha256s"]
                key = _key(held, preprocessing)
                if np.isin(wanted, _unique_digests(held)).all() and path.name.startswith(key):
                    if stored:
                        return _load(path, held, preprocessing.crop)
                    return _open_list(path, held, preprocessing)
        return None

    def build(self, request: PixelRequest) -> None:
        """Build the cache of these images, unless it exists; or list their files.

        It is written under another name and then renamed: it appears whole or not at all, and two
        runs may build the same one at once.

        Raises:
            UserError: If a file has changed since it was indexed, or the disk is full.
        """
        path = self.folder / _key(request.sha256s, request.preprocessing)
        with naming_disk_errors(path):
            self._build(request, path)

    def _build(self, request: PixelRequest, path: Path) -> None:
        if _is_whole(path, request):
            log.info("Pixel cache %s exists already", path)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_stale(self.folder, ".partial-*")
        if not request.stored:
            _write_list(request, _list_of(path))
            return
        if any(self.folder.glob(f"{_sizes(request.preprocessing)}-*/")):
            log.info("No pixel cache at these sizes holds these images: a new one is built")
        partial_path = self.folder / f".partial-{uuid4().hex}"
        partial_path.mkdir()
        try:
            _write(request, partial_path)
            partial_path.rename(path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise UserError(_full_disk_message(request, self.folder)) from None
            # another run may have been faster; its cache has the same content
            if not path.exists():
                raise
        finally:
            shutil.rmtree(partial_path, ignore_errors=True)


@dataclass(frozen=True)
class FolderPixels:
    """Pixels of a folder of images without a cache: its files are decoded at each access."""

    folder: Path
    paths: dict[str, str]  # relative to the folder, by hexadecimal SHA-256

    def open(self, sha256s: Sequence[str], preprocessing: PreprocessingParameters) -> Pixels:
        """A list of these images' files at these sizes, with the interface of `PixelCache`."""
        digests = _unique_digests(sha256s)
        names = _hex(digests)
        files = ImageFiles(self.folder, [self.paths[each] for each in names], names, preprocessing)
        return Pixels(files, digests)


def prefetch_batches(
    array: PixelArray, batches: Sequence[Rows]
) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """Read the pixels of each batch of rows, [rows, crop, crop, 3], while another is in use.

    One thread reads an array's rows. Files are decoded in as many threads as there are cores, a
    batch in each; at most that many batches wait, so that memory is bounded.
    """
    threads = joblib.cpu_count() if isinstance(array, ImageFiles) else 1
    return prefetch(array.__getitem__, batches, threads=threads)


def _list_of(path: Path) -> Path:
    """Path of the list of files that stands in for a cache."""
    return path.with_name(f"{path.name}.files.json")


def _write_list(request: PixelRequest, path: Path) -> None:
    files = request.files()
    paths, sha256s = [path for path, _ in files], [sha256 for _, sha256 in files]
    content = {"folder": str(request.folder), "paths": paths, "sha256s": sha256s}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
    log.info("No pixel cache (parameter pixels): %d images are read from their files", len(paths))


def _open_list(
    path: Path, sha256s: Sequence[str], preprocessing: PreprocessingParameters
) -> Pixels:
    digests = _unique_digests(sha256s)
    try:
        listed = _read_list(path)
        folder = Path(listed["folder"])
        paths = dict(zip(_hex(digests), map(str, listed["paths"]), strict=True))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{path} is damaged ({first_line(error)})"
        raise UserError(f"{problem}. Delete it, and run data_preparation again.") from None
    return Pixels(ImageFiles(folder, [*paths.values()], [*paths], preprocessing), digests)


def _read_list(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _load(path: Path, sha256s: Sequence[str], crop: int) -> Pixels:
    array = np.load(path / _ARRAY, mmap_mode="r", allow_pickle=False)
    digests = np.load(path / _DIGESTS, allow_pickle=False)
    if not np.array_equal(digests, _unique_digests(sha256s)):
        raise ValueError("it is of other images")
    if array.shape != (len(digests), crop, crop, 3) or array.dtype != np.uint8:
        raise ValueError("it has another shape")
    if (path / _ARRAY).stat().st_size != array.offset + array.nbytes:
        raise ValueError("it has another length")
    return Pixels(array, digests)


def _check(path: Path, request: PixelRequest) -> None:
    array = _load(path, request.sha256s, request.preprocessing.crop).array
    checksums = np.load(path / _CHECKSUMS, allow_pickle=False)
    if [zlib.crc32(bytes(array[row])) for row in range(len(array))] != checksums.tolist():
        raise ValueError("its pixels are no longer those that were written")


def _is_whole(path: Path, request: PixelRequest) -> bool:
    """Whether a cache exists and holds the pixels that were written; a damaged one is deleted."""
    if not path.exists():
        return False
    try:
        _check(path, request)
    # NumPy raises errors of many kinds for a damaged header
    except Exception as error:
        log.warning("Pixel cache %s is damaged (%s) and is built again", path, error)
        shutil.rmtree(path)
        return False
    return True


def _key(sha256s: Sequence[str], preprocessing: PreprocessingParameters) -> str:
    content = hashlib.sha256()
    # Pillow's decoders and filters differ between versions, in the last bit
    how = [_FORMAT, PIL.__version__, preprocessing.resize, preprocessing.crop]
    content.update(json.dumps(how).encode())
    content.update(_unique_digests(sha256s).tobytes())
    return f"{_sizes(preprocessing)}-{content.hexdigest()[:16]}"


def _sizes(preprocessing: PreprocessingParameters) -> str:
    return f"{preprocessing.resize}-{preprocessing.crop}"


def _digests(sha256s: Sequence[str]) -> Digests:
    packed = pack_hashes(sha256s)
    return packed.view("S32").ravel() if len(packed) else np.empty(0, "S32")


def _unique_digests(sha256s: Sequence[str]) -> Digests:
    return np.unique(_digests(sha256s))


def _hex(digests: Digests) -> list[str]:
    # NumPy drops trailing zero bytes of a single byte string
    return [bytes(digest).ljust(32, b"\0").hex() for digest in digests]


def _write(request: PixelRequest, folder: Path) -> None:
    files, crop = request.files(), request.preprocessing.crop
    total, shape = len(files), (len(files), crop, crop, 3)
    size = np.prod(shape) / 1e6
    log.info("Building a pixel cache of %d images at %d×%d (%.1f MB)", total, crop, crop, size)
    _allocate(folder / _ARRAY, shape)
    write = partial(_write_row, folder / _ARRAY, request.folder, request.preprocessing)
    checksums = map_in_processes(write, enumerate(files), description="Pixel cache", total=total)
    np.save(folder / _CHECKSUMS, np.fromiter(checksums, np.uint32, total))
    np.save(folder / _DIGESTS, _unique_digests(request.sha256s))


def _allocate(path: Path, shape: tuple[int, ...]) -> None:
    """Create the array's file and allocate its space: a full disk is an error, not a crash."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    elif shutil.disk_usage(path.parent).free < np.prod(shape):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _write_row(
    array_path: Path,
    folder: Path,
    preprocessing: PreprocessingParameters,
    file: tuple[int, tuple[str, str]],
) -> int:
    """Write the pixels of one file into its row of the array; their CRC-32."""
    row, (path, sha256) = file
    pixels = crop_pixels(open_indexed_picture(folder / path, sha256), preprocessing)
    np.load(array_path, mmap_mode="r+")[row] = pixels
    return zlib.crc32(pixels.tobytes())


def _full_disk_message(request: PixelRequest, folder: Path) -> str:
    files = len(set(request.sha256s))
    size = files * request.preprocessing.crop**2 * 3 / 1e6
    return (
        f"the disk is full: a pixel cache of {files} images needs {size:.1f} MB in "
        f"{folder}. Remove caches that are no longer used (each is built again on demand), or "
        "decode the files at each access: --params pixels=files."
    )
