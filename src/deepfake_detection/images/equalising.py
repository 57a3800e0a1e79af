"""Copies of pictures that are all alike in size and encoding, so that files do not tell classes."""

import io
import shutil
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from deepfake_detection.images.distortions import compress
from deepfake_detection.images.files import files_below, is_system_file
from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.reading import UnreadablePictureError, open_picture, read_content
from deepfake_detection.parameters import EqualiseParameters

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
