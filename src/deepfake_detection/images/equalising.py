"""Copies of pictures that are all alike in size and encoding, so that files do not tell classes."""

import hashlib
import io
import json
import logging
import shutil
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter

import PIL
from PIL import Image, ImageOps

from deepfake_detection.atomic_write import naming_disk_errors, remove_stale
from deepfake_detection.images.distortions import compress
from deepfake_detection.images.files import files_below, is_system_file
from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.reading import UnreadablePictureError, open_picture, read_content
from deepfake_detection.parameters import EqualiseParameters

log = logging.getLogger(__name__)

# Raised when the same picture and settings give other bytes
EQUALISING_VERSION = 1


def equalise(image: Image.Image, settings: EqualiseParameters) -> Image.Image:
    """The centre square of an RGB picture, without its edges, resized and compressed as JPEG."""
    return compress(_fit(image, settings), settings.quality)


def _fit(image: Image.Image, settings: EqualiseParameters) -> Image.Image:
    size = (settings.side, settings.side)
    return ImageOps.fit(image, size, Image.Resampling.BICUBIC, bleed=settings.cut)


def list_files(source: Path) -> list[str]:
    """Files at any depth, relative to the folder, without system files, sorted."""
    found = (path.relative_to(source) for path in files_below(source))
    return sorted(path.as_posix() for path in found if not is_system_file(path))


def copy_equalised(
    source: Path, parent: Path, settings: EqualiseParameters, max_pixels: int
) -> Path:
    """Equalised copies of a folder (see `write_equalised`), made once; the folder that holds them.

    It lies in `parent` and is named after the settings and the names, sizes and times of the
    files: a changed file gives a new folder. It appears whole or not at all.

    Raises:
        UserError: If the disk is full.
    """
    folder = parent / _key(source, settings, max_pixels)
    if folder.is_dir():
        return folder.resolve()
    started = perf_counter()
    with naming_disk_errors(folder):
        parent.mkdir(parents=True, exist_ok=True)
        remove_stale(parent, ".partial-*")
        beside = Path(tempfile.mkdtemp(prefix=".partial-", dir=parent))
        try:
            number = write_equalised(source, beside, settings, max_pixels)
            beside.chmod(0o755)
            beside.rename(folder)
        except OSError:
            # another run was faster; it made the same files
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    log.info("Equalised %d files in %s in %.0f s", number, folder, perf_counter() - started)
    return folder.resolve()


def _key(source: Path, settings: EqualiseParameters, max_pixels: int) -> str:
    status = ((path, (source / path).stat()) for path in list_files(source))
    files = [(path, each.st_size, each.st_mtime_ns) for path, each in status]
    told = settings.model_dump() | {"max_pixels": max_pixels}
    content = [EQUALISING_VERSION, PIL.__version__, told, files]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write_equalised(
    source: Path, folder: Path, settings: EqualiseParameters, max_pixels: int
) -> int:
    """Fill an empty folder with the equalised copies of a folder, under the same paths.

    Names keep their endings, whatever the file is, so that layouts, lists and patterns still fit;
    readers go by the content. What is no picture, cannot be read or has more than `max_pixels` is
    copied as it is: a list of the layout serves on, and a damaged picture is rejected as before.

    Returns:
        The number of files.
    """
    files = list_files(source)
    for parent in {(folder / path).parent for path in files}:
        parent.mkdir(parents=True, exist_ok=True)
    write = partial(_write_file, source, folder, settings, max_pixels)
    return sum(map_in_processes(write, files, description="Equalised images", total=len(files)))


def _write_file(
    source: Path, folder: Path, settings: EqualiseParameters, max_pixels: int, path: str
) -> int:
    try:
        image = open_picture(read_content(source / path), max_pixels)
    except UnreadablePictureError:
        if (source / path).is_file():
            shutil.copyfile(source / path, folder / path)
        return 1
    buffer = io.BytesIO()
    _fit(image, settings).save(buffer, "JPEG", quality=settings.quality, subsampling="4:2:0")
    (folder / path).write_bytes(buffer.getvalue())
    return 1
