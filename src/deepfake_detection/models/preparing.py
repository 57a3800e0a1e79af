"""From a given picture to what a network sees of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.images.reading import (
    UnreadablePictureError,
    open_picture,
    pillow_errors,
    read_content,
)
from deepfake_detection.models.image_inputs import to_image
from deepfake_detection.parameters import PreprocessingParameters

if TYPE_CHECKING:
    from deepfake_detection.models.image_inputs import ImageInput


@dataclass(frozen=True)
class Prepared:
    """A picture as a network sees it, or the reason why there is none.

    Attributes:
        path: Of its file, as it was given; None for a picture from memory.
        pixels: uint8, [crop, crop, 3]; None where `error` says why.
        size: Width and height of the upright picture in pixels; None where there is an error.
        sha256: Of its file.
        error: Why it could not be read.
    """

    path: str | None
    pixels: np.ndarray[Any, np.dtype[np.uint8]] | None = None
    size: tuple[int, int] | None = None
    sha256: bytes | None = None
    error: str | None = None


def prepare(
    image: ImageInput, preprocessing: PreprocessingParameters, max_pixels: int | None
) -> Prepared:
    """Read, decode, resize and crop a picture.

    Args:
        image: A file or a picture in memory.
        preprocessing: Sizes in pixels.
        max_pixels: Width × height above which a file is not opened; None: Pillow's own limit.

    Raises:
        TypeError: If a picture in memory is of another type or dtype than `to_image` takes.
        ValueError: If it has another shape, or values out of range.
    """
    path, sha256 = None, None
    try:
        if isinstance(image, str | Path):
            path = str(image)
            content = read_content(Path(image))
            sha256 = hashlib.sha256(content).digest()
            picture = open_picture(content, max_pixels)
        elif isinstance(image, Image.Image):
            # PIL images are decoded when they are first needed
            with pillow_errors():
                picture = to_image(image)
        else:
            picture = to_image(image)
    except UnreadablePictureError as error:
        return Prepared(path, error=str(error))
    return Prepared(path, crop_pixels(picture, preprocessing), picture.size, sha256)
