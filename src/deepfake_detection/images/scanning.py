"""Find the files of an image folder, and decode and measure each once."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imagehash
from natsort import natsorted, ns
from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.images.files import NOT_UTF8, files_below, is_system_file, is_utf8
from deepfake_detection.images.image_statistics import ImageStatistics, measure_statistics
from deepfake_detection.images.parallel import map_in_processes
from deepfake_detection.images.reading import UnreadablePictureError, open_picture, read_content

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScannedFile:
    """A file of the image folder. Either `reason` is set, or all measurements are."""

    path: str  # relative to the image folder, with `/`
    class_name: str  # empty where it has none
    reason: str | None = None  # why the file is not used
    sha256: str | None = None  # hexadecimal
    width: int | None = None  # pixels of the upright picture
    height: int | None = None
    bytes: int | None = None
    perceptual_hash: str | None = None  # 64 bits, hexadecimal (Zauner 2010, by DCT)
    brightness: float | None = None  # this and the next: see `ImageStatistics`
    contrast: float | None = None
    sharpness: float | None = None


class Measures(ImageStatistics):
    """What is measured on a picture (see `ScannedFile`)."""

    perceptual_hash: str


def find_files(folder: Path, classes: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Find the files of an image folder, at any depth, in natural order within each class.

    Args:
        folder: The image folder, with a folder for each class.
        classes: Labels by class folder; a folder with None is left out.

    Returns:
        Of each file its path relative to the image folder, and its class folder (empty: outside of
        all). System files (hidden ones, Thumbs.db, desktop.ini) are left out and
        counted in the log.

    Raises:
        UserError: If a class folder is missing, has no files, or is not named in `classes`.
    """
    found: list[tuple[str, str]] = []
    system_files = 0
    for name, label in classes.items():
        if label is None:
            continue
        if not (folder / name).is_dir():
            raise UserError(
                f"class folder '{name}' is missing in {folder}, which has {_list_folders(folder)}. "
                "Name the class folders in parameter 'classes'; null leaves one out."
            )
        paths = []
        for path in files_below(folder / name):
            if is_system_file(path.relative_to(folder / name)):
                system_files += 1
            else:
                paths.append(path.relative_to(folder).as_posix())
        if not paths:
            raise UserError(f"class folder '{name}' in {folder} has no files")
        # sorted first, so that the order of names such as 1.png and 01.png is fixed
        found += [(path, name) for path in natsorted(sorted(paths), alg=ns.PATH)]
    found += _find_outside(folder, classes)
    if system_files:
        log.info("Ignored %d system files (hidden ones, Thumbs.db, desktop.ini)", system_files)
    return found


def _find_outside(folder: Path, classes: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Files outside of all class folders; a folder outside of all is an error."""
    parents = {parent.as_posix() for name in classes for parent in Path(name).parents}
    waiting = [folder]
    while waiting:
        for path in sorted(waiting.pop().iterdir()):
            inside = path.relative_to(folder)
            if inside.as_posix() in classes or is_system_file(inside):
                continue
            if not path.is_dir():
                yield inside.as_posix(), ""
            elif inside.as_posix() in parents:
                waiting.append(path)
            else:
                raise UserError(
                    f"folder '{inside.as_posix()}' in {folder} is not a class folder of parameter "
                    "'classes'. Name it there with its label, real or fake, or with null to leave "
                    "it out."
                )


def _list_folders(folder: Path) -> str:
    names = [f"'{path.name}'" for path in sorted(folder.iterdir()) if path.is_dir()]
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "") or "no folders"


def scan_files(
    folder: Path, files: Sequence[tuple[str, str, str | None]], max_pixels: int
) -> Iterator[ScannedFile]:
    """Read and measure each file in several processes, in order.

    Args:
        folder: The image folder.
        files: Of each its path, its class, and the reason for which it is not read, if any.
        max_pixels: A picture of more (width × height) is rejected.
    """
    scan = partial(_scan_file, folder, max_pixels)
    return map_in_processes(scan, files, description="Reading images", total=len(files))


def _scan_file(folder: Path, max_pixels: int, file: tuple[str, str, str | None]) -> ScannedFile:
    path, class_name, reason = file
    if not is_utf8(path):
        return ScannedFile(path.encode("utf-8", "replace").decode(), class_name, NOT_UTF8)
    if reason is not None:
        return ScannedFile(path, class_name, reason)
    try:
        content = read_content(folder / path)
        image = open_picture(content, max_pixels)
    except UnreadablePictureError as error:
        return ScannedFile(path, class_name, str(error))
    return ScannedFile(
        path,
        class_name,
        sha256=hashlib.sha256(content).hexdigest(),
        width=image.width,
        height=image.height,
        bytes=len(content),
        **measure_picture(image),
    )


def measure_picture(image: Image.Image) -> Measures:
    """Perceptual hash, brightness, contrast and sharpness of an RGB picture (see `ScannedFile`)."""
    grey = image.convert("L")
    return {"perceptual_hash": str(imagehash.phash(grey)), **measure_statistics(grey)}
