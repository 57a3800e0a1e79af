"""Opening picture files safely."""

import ctypes
import hashlib
import importlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from deepfake_detection.errors import UserError

# A truncated file is an error, whatever another package has set: it must not become a picture whose
# lower part is grey. max_pixels limits the size, and damaged EXIF data does no harm here.
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
# Pillow's libtiff writes each fault of a file to the terminal; the error is raised anyway.
with suppress(AttributeError, OSError):
    _library = ctypes.CDLL(Image.core.__file__)
    for _handler in (_library.TIFFSetErrorHandler, _library.TIFFSetWarningHandler):
        _handler(None)

# What is opened: types of photographs. Pillow starts another program for some others (EPS).
_TYPES = (
    "JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "TGA", "ICO",
    "HEIF",
)  # fmt: skip
# The first box of a HEIC file, by its brand (ISO/IEC 23008-12, annex B)
_HEIC_STARTS = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"))
# Bytes of a file; the largest picture that Pillow opens has 537 million bytes of pixels
_LARGEST_FILE = 600_000_000
# A decoder takes time for each row of a PNG file and each scan of a JPEG file, however few bytes
# they have. JPEG itself allows sides of 65,535 pixels. A progressive file has 10 to 15 scans; 10^10
# scanned pixels take about 10 s
_LONGEST_SIDE, _MOST_SCANNED, _JPEG_SCAN = 65_535, 10**10, b"\xff\xda"
# The chunks of a PNG that its pixels need (PNG specification, third edition, section 5.6)
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_START = b"\x89PNG\r\n\x1a\n"
# First column, first row, and steps of the seven passes of an interlaced one (section 8.1)
_PNG_PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # fmt: skip
_BITS_PER_SAMPLE = 258  # a tag of TIFF


class UnreadablePictureError(Exception):
    """A file that cannot be used as a picture; the message is the reason."""


class MissingReaderError(UnreadablePictureError):
    """A picture whose type needs a package that is not installed."""


class TooManyPixelsError(UnreadablePictureError):
    """A picture above the limit of pixels; it was not decoded."""


def open_picture(
    content: bytes, max_pixels: int | None = None, types: tuple[str, ...] | None = None
) -> Image.Image:
    """Decode an image file into upright 8-bit RGB.

    Of an animation, the first frame is read. An alpha channel is dropped, as torchvision's loader
    does; 16- and 32-bit greyscale is scaled to 8 bits; the EXIF orientation is applied. Damaged
    metadata are ignored.

    Args:
        content: The whole file.
        max_pixels: Width × height above which the file is refused before it is decoded. Pillow's
            own limit against decompression bombs applies in any case.
        types: Pillow's names of the accepted file types; None: those of photographs.

    Raises:
        TooManyPixelsError: If it is larger.
        UnreadablePictureError: If it cannot be decoded.
    """
    if not content:
        raise UnreadablePictureError("empty file")
    try:
        return _decode(content, max_pixels, types)
    except TooManyPixelsError:
        raise
    except UnreadablePictureError:
        if content.startswith(_HEIC_STARTS, 4) and "HEIF" not in readable_types():
            raise MissingReaderError(
                "a HEIC picture, for which pillow-heif is missing (extra `heic`)"
            ) from None
        if (pixels := _strip_png(content)) is None:
            raise
    return _decode(pixels, max_pixels, types)


def _decode(content: bytes, max_pixels: int | None, types: tuple[str, ...] | None) -> Image.Image:
    with (
        pillow_errors(),
        Image.open(io.BytesIO(content), formats=types or readable_types()) as image,
    ):
        width, height = image.size
        if max(width, height) > _LONGEST_SIDE:
            raise TooManyPixelsError(f"{width}×{height}: a side is longer than {_LONGEST_SIDE}")
        if image.format in ("JPEG", "MPO"):
            scans = content.count(_JPEG_SCAN)
            if scans * width * height > _MOST_SCANNED:
                raise UnreadablePictureError(f"{scans} scans of {width}×{height} pixels")
        if max_pixels is None or width * height <= max_pixels:
            image.load()
            if image.format == "PNG":
                _check_png_rows(content)
            return to_rgb(image)
    raise TooManyPixelsError(f"{width}×{height} pixels are more than max_pixels ({max_pixels})")


@cache
def readable_types() -> tuple[str, ...]:
    """Those of `_TYPES` that this Pillow was built with, or that pillow-heif adds."""
    Image.init()
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in _TYPES if name in Image.OPEN)


def _strip_png(content: bytes) -> bytes | None:
    """A PNG file without its metadata; None if there are none, or it is no PNG file."""
    if not content.startswith(_PNG_START):
        return None
    kept = [chunk for chunk in _png_chunks(content) if chunk[4:8] in _PNG_PIXELS]
    stripped = b"".join([_PNG_START, *kept])
    return stripped if len(stripped) < len(content) else None


def _png_chunks(content: bytes) -> Iterator[bytes]:
    """The chunks of a PNG file: length (4 bytes), type (4), data, checksum (4)."""
    at = len(_PNG_START)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        yield content[at:end]
        at = end


def _check_png_rows(content: bytes) -> None:
    """Raise an error if rows are missing in the data of a PNG file: Pillow leaves them black."""
    decompressor, found, needed = zlib.decompressobj(), 0, 0
    for chunk in _png_chunks(content):
        if chunk[4:8] == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunk[8:21])
            bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
            for left, top, right, down in _PNG_PASSES if interlaced else [(0, 0, 1, 1)]:
                columns, rows = -((left - width) // right), -((top - height) // down)
                needed += rows * (1 + (columns * bits + 7) // 8) if columns > 0 else 0
        elif chunk[4:8] == b"IDAT" and found < needed:
            found += len(decompressor.decompress(chunk[8:-4], needed - found))
    if found < needed:
        raise UnreadablePictureError("damaged image (rows are missing)")


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Turn any error of Pillow inside into an `UnreadablePictureError`."""
    try:
        yield
    except UnreadablePictureError:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadablePictureError("not a picture, or of a type that cannot be read") from None
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(str(error)) from None
    # Pillow's decoders raise many types for a broken file (OSError, SyntaxError, struct.error,
    # IndexError …); each means that this file cannot be read.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise UnreadablePictureError(f"damaged image ({reason})") from error


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture upright and into 8-bit RGB (see `open_picture`)."""
    # a TIFF file may hold 9 to 15 bits a pixel
    (bits, *_) = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (16,))
    # the pixels are good, even where the orientation cannot be read
    with suppress(Exception):
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        # 16-bit files of some types open as 32-bit integers; floats range to 1 or to 255
        tops = (65535.0,) if image.mode == "I" else (1.0, 255.0, 65535.0)
        top = next((top for top in tops if values.max() <= top), values.max())
        scaled = np.clip(values / top * 255, 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    return image.convert("RGB")


def read_picture(path: Path, max_pixels: int | None = None) -> Image.Image:
    """`open_picture` of a file; an UnreadablePictureError also if it is missing."""
    return open_picture(read_content(path), max_pixels)


def read_content(path: Path) -> bytes:
    """A whole file; an UnreadablePictureError if it is missing, too large or no regular file."""
    try:
        if path.is_dir():
            raise UnreadablePictureError("a folder that cannot be read")
        # reading a pipe or a device would never end
        if not path.is_file() and path.exists():
            raise UnreadablePictureError("not a regular file")
        if (size := path.stat().st_size) > _LARGEST_FILE:
            raise UnreadablePictureError(f"{size:,} bytes are more than {_LARGEST_FILE:,}")
        return path.read_bytes()
    # the name holds a zero byte, or bytes that are not text
    except ValueError as error:
        raise UnreadablePictureError(str(error)) from None
    except OSError as error:
        raise UnreadablePictureError(error.strerror or str(error)) from None


def open_indexed_picture(path: Path, sha256: str) -> Image.Image:
    """`open_picture` of a file of the image index; a UserError if it has changed or is missing."""
    try:
        content = read_content(path)
        if hashlib.sha256(content).hexdigest() == sha256:
            return open_picture(content)
        problem = "has changed since it was indexed"
    except UnreadablePictureError as error:
        problem = f"cannot be read any more ({error})"
    raise UserError(f"{path} {problem}. Run kedro run --pipelines data_preparation again.")
