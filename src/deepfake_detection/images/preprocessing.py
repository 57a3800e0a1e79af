"""Resize and crop: from an opened picture to the square of pixels that a network sees."""

import numpy as np
from PIL import Image

from deepfake_detection.parameters import PreprocessingParameters

# A picture longer than this many times its short side is first cut to that length, around its
# centre: resizing a strip of 10 × 100,000 pixels would need gigabytes, all outside the crop.
_LONGEST_ASPECT = 16


def crop_pixels(
    image: Image.Image, preprocessing: PreprocessingParameters
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Resize the shorter side of an RGB picture and crop the centre: uint8, [crop, crop, 3].

    The pixels equal those of torchvision's `Resize` and `CenterCrop` for a PIL image (bilinear,
    antialiased), without its import.
    """
    strip = _uncut_strip(*image.size)
    if strip != (0, 0, *image.size):
        image = image.crop(strip)
    resized, crop = _places(image.size, preprocessing)
    if image.size != resized:
        image = image.resize(resized, Image.Resampling.BILINEAR)
    return np.asarray(image.crop(crop))


def seen_box(
    size: tuple[int, int], preprocessing: PreprocessingParameters
) -> tuple[float, float, float, float]:
    """The part that `crop_pixels` keeps of a picture of this width and height, pixels.

    Left, top, right and bottom, as shares of width and height, in [0, 1].
    """
    left, top, right, bottom = _uncut_strip(*size)
    inside = (right - left, bottom - top)
    resized, crop = _places(inside, preprocessing)
    # along both axes: where the strip starts, and the scale within it
    axes = zip((left, top) * 2, inside * 2, resized * 2, size * 2, crop, strict=True)
    shares = ((start + edge * length / new) / whole for start, length, new, whole, edge in axes)
    return tuple(shares)  # type: ignore[return-value]


def _places(
    size: tuple[int, int], preprocessing: PreprocessingParameters
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Width and height after resizing, and the crop's box in it."""
    width, height = size
    short, crop = preprocessing.resize, preprocessing.crop
    if width <= height:
        resized = (short, max(short, int(short * height / width)))
    else:
        resized = (max(short, int(short * width / height)), short)
    left, top = round((resized[0] - crop) / 2), round((resized[1] - crop) / 2)
    return resized, (left, top, left + crop, top + crop)


def _uncut_strip(width: int, height: int) -> tuple[int, int, int, int]:
    """The box that is kept of a long strip; any other picture is kept whole."""
    longest = _LONGEST_ASPECT * min(width, height)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return left, top, left + min(width, longest), top + min(height, longest)
