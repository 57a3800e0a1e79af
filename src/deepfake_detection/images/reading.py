"""Opening picture files safely."""

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from deepfake_detection.errors import UserError

# A truncated file is an error, whatever another package has set: it must not become a picture whose
# lower part is grey. max_pixels limits the size, and damaged EXIF data does no harm here.
ImageFile.LOAD_TRUNCATED_IMAGES = False
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class UnreadablePictureError(Exception):
    """A file that cannot be used as a picture; the message is the reason."""


class TooManyPixelsError(UnreadablePictureError):
    """A picture above the limit of pixels; it was not decoded."""


def open_picture(
    content: bytes, max_pixels: int | None = None, types: tuple[str, ...] | None = None
) -> Image.Image:
    """Decode an image file into upright 8-bit RGB.

    Of an animation, the first frame is read. An alpha channel is dropped, as torchvision's loader
    does; 16- and 32-bit greyscale is scaled to 8 bits; the EXIF orientation is applied.

    Args:
        content: The whole file.
        max_pixels: Width × height above which the file is refused before it is decoded. Pillow's
            own limit against decompression bombs applies in any case.
        types: Pillow's names of the accepted file types; None: all that it reads.

    Raises:
        TooManyPixelsError: If it is larger.
        UnreadablePictureError: If it cannot be decoded.
    """
    if not content:
        raise UnreadablePictureError("empty file")
    with pillow_errors(), Image.open(io.BytesIO(content), formats=types) as image:
        width, height = image.size
        if max_pixels is None or width * height <= max_pixels:
            image.load()
            return to_rgb(image)
    raise TooManyPixelsError(f"{width}×{height} pixels are more than max_pixels ({max_pixels})")


@contextmanager
def pillow_errors() -> Iterator[None]:
    """Turn any error of Pillow inside into an `UnreadablePictureError`."""
    try:
        yield
    except Image.UnidentifiedImageError:
        raise UnreadablePictureError("not an image, or of a type that Pillow cannot read") from None
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(str(error)) from None
    # Pillow's decoders raise many types for a broken file (OSError, SyntaxError, struct.error,
    # IndexError …); each means that this file cannot be read.
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
    """A whole file; an UnreadablePictureError if it is missing, or not a regular file."""
    try:
        # reading a pipe or a device would never end
        if not path.is_file() and path.exists():
            raise UnreadablePictureError("not a regular file")
        return path.read_bytes()
    # the name holds a zero byte, or bytes that are not text
    except ValueError as error:
        raise UnreadablePictureError(str(error)) from None
    except OSError as error:
        raise UnreadablePictureError(error.strerror or str(error)) from None


def open_indexed_picture(path: Path, sha256: str) -> Image.Image:
    """`open_picture` of a file of the image index; a UserError if it has changed or is missing."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == sha256:
            return open_picture(content)
        problem = "has changed since it was indexed"
    except (OSError, UnreadablePictureError) as error:
        problem = f"cannot be read any more ({getattr(error, 'strerror', None) or error})"
    raise UserError(f"{path} {problem}. Run kedro run --pipelines data_preparation again.")
