"""Opening picture files safely, many at once."""

import io
import multiprocessing
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TypeVar

import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from PIL import Image, ImageFile, ImageOps
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

# A truncated file is an error, never a picture with a grey rest, whatever another package set;
# how many pixels are too many is said by max_pixels, and damaged EXIF data harms nothing here.
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# an error in one process ends the others, and is itself what there is to say
warnings.filterwarnings("ignore", message=r"\d+ tasks which were still being processed")


class UnreadablePictureError(Exception):
    """A file that cannot be used as a picture; the message is the reason, in a few words."""


class TooManyPixelsError(UnreadablePictureError):
    """A picture that is larger than what is admitted, and has not been decoded."""


def open_picture(
    content: bytes, max_pixels: int | None = None, types: tuple[str, ...] | None = None
) -> Image.Image:
    """Decode an image file of any type that Pillow reads into 8-bit RGB, turned upright.

    The first frame of an animation counts. An alpha channel is dropped, as torchvision's loader
    does; 16- and 32-bit greyscale is scaled to 8 bit; the EXIF orientation is applied.

    Args:
        content: The whole file.
        max_pixels: Width × height above which the file is refused before it is decoded; Pillow's
            own limit against decompression bombs holds in any case.
        types: Pillow's names of the types that are admitted; None: all that it reads.

    Raises:
        TooManyPixelsError: If it is larger.
        UnreadablePictureError: If it cannot be used for another reason, with the reason.
    """
    if not content:
        raise UnreadablePictureError("empty file")
    with saying_what_is_wrong(), Image.open(io.BytesIO(content), formats=types) as image:
        width, height = image.size
        if max_pixels is None or width * height <= max_pixels:
            image.load()
            return to_rgb(image)
    raise TooManyPixelsError(f"{width}×{height} pixels are more than max_pixels ({max_pixels})")


@contextmanager
def saying_what_is_wrong() -> Iterator[None]:
    """Inside, whatever Pillow raises over a picture becomes its reason in a few words.

    Raises:
        UnreadablePictureError: With the reason.
    """
    try:
        yield
    except Image.UnidentifiedImageError:
        raise UnreadablePictureError("not an image, or of a type that Pillow cannot read") from None
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(str(error)) from None
    # Pillow's decoders raise whatever a broken file leads them into (OSError, SyntaxError,
    # struct.error, IndexError …): each means that this file cannot be read, which is recorded.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UnreadablePictureError(f"damaged image ({reason})") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture upright and into 8-bit RGB (see `open_picture`)."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        # 16-bit files of some types open as 32-bit integers; floats are taken as 0…1 or 0…255
        top = next((top for top in (1.0, 255.0, 65535.0) if values.max() <= top), values.max())
        if image.mode == "I":
            top = max(top, 65535.0)
        scaled = np.clip(values / top * 255, 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    return image.convert("RGB")


def read_picture(path: Path, max_pixels: int | None = None) -> Image.Image:
    """`open_picture` of a file.

    Raises:
        UnreadablePictureError: With the reason, also if the file is missing.
    """
    return open_picture(read_content(path), max_pixels)


def read_content(path: Path) -> bytes:
    """A whole file.

    Raises:
        UnreadablePictureError: If it is missing, cannot be read, or is not a regular file.
    """
    try:
        # reading a pipe or a device would never end
        if not path.is_file() and path.exists():
            raise UnreadablePictureError("not a regular file")
        return path.read_bytes()
    # a name that holds a zero byte, or bytes that are no text
    except ValueError as error:
        raise UnreadablePictureError(str(error)) from None
    except OSError as error:
        raise UnreadablePictureError(error.strerror or str(error)) from None


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], *, description: str, total: int
) -> Iterator[Result]:
    """Apply `function` to each item in as many processes as there are cores, in order.

    Processes rather than threads, since what is taken of each picture beside its pixels (hashes,
    statistics) holds the interpreter's lock for much of the time. A progress bar is shown
    in a terminal.

    Args:
        function: Importable, so that the processes find it.
        items: Its arguments, picklable.
        description: Stands before the progress bar.
        total: How many items there are.
    """
    _end_processes_with_this_one()
    workers = max(1, min(joblib.cpu_count(), total))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    results = parallel(joblib.delayed(function)(item) for item in items)
    yield from tqdm(results, desc=description, total=total, leave=False, disable=None)


def _end_processes_with_this_one() -> None:
    """See to it that joblib's processes end when this one does, if it is another's itself.

    They are kept for what comes next, and a process of Kedro's ParallelRunner, or of the benchmark,
    would wait minutes for them to end by themselves. Workers of Dask, which compute in threads, end
    theirs themselves.
    """
    here = threading.current_thread() is threading.main_thread()
    if here and multiprocessing.parent_process() is not None:
        _finalise()


@cache
def _finalise() -> None:
    # before multiprocessing waits for children
    Finalize(None, _end_processes, exitpriority=100)


def _end_processes() -> None:
    get_reusable_executor().shutdown(kill_workers=True)
