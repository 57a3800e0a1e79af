"""From a path, PIL image, array or tensor to the pixels that a network takes."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from PIL import Image

from deepfake_detection.faces.detection import Face
from deepfake_detection.faces.finding import FaceFinder, RejectedFace
from deepfake_detection.images.preprocessing import crop_pixels
from deepfake_detection.images.reading import (
    UnreadablePictureError,
    open_picture,
    pillow_errors,
    read_content,
    to_rgb,
)
from deepfake_detection.parameters import PreprocessingParameters

if TYPE_CHECKING:
    from torch import Tensor

    ImageInput = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor


_TAKEN = "a detector scores paths, PIL images, arrays and tensors"


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network takes it, or the reason why it has no score.

    Attributes:
        path: Of its file, as it was given; None for an image in memory.
        pixels: uint8, [crop, crop, 3], of the image or of each of its faces; empty if there is an
            error.
        size: Width and height of the upright image in pixels; None if it could not be read.
        faces: Those of `pixels`; empty if the image was taken whole.
        crops: SHA-256 of each face's crop, as extraction would save it.
        rejected: Faces beyond the limits of the crop recipe, the largest first.
    """

    path: str | None
    pixels: tuple[np.ndarray[Any, np.dtype[np.uint8]], ...] = ()
    size: tuple[int, int] | None = None
    sha256: bytes | None = None
    error: str | None = None
    faces: tuple[Face, ...] = ()
    crops: tuple[bytes, ...] = ()
    rejected: tuple[RejectedFace, ...] = ()


def prepare_image(
    image: ImageInput,
    preprocessing: PreprocessingParameters,
    max_pixels: int | None = None,
    find_faces: FaceFinder | None = None,
    *,
    look: bool = True,
) -> PreparedImage:
    """Read, decode, resize and crop an image or, with `find_faces`, its faces.

    With `look`, an image that is a crop of one face already is taken whole. `max_pixels` is as for
    `Detector.score`. Of an image in memory, errors as from `to_image`.
    """
    path, sha256 = None, None
    try:
        if isinstance(image, str | Path):
            path = str(image)
            content = read_content(Path(image))
            sha256 = hashlib.sha256(content).digest()
            picture = open_picture(content, max_pixels)
        else:
            picture = to_image(image)
    except UnreadablePictureError as error:
        return PreparedImage(path, error=str(error))
    prepared = PreparedImage(path, (), picture.size, sha256)
    if find_faces is not None:
        found = find_faces.find(picture)
        prepared = replace(prepared, rejected=tuple(found.rejected), error=found.error)
        if not found.faces:
            return prepared
        if not (look and find_faces.is_crop(picture, found.faces)):
            pixels = tuple(crop_pixels(face.crop, preprocessing) for face in found.faces)
            faces, crops = zip(*((face.face, face.sha256) for face in found.faces), strict=True)
            return replace(prepared, pixels=pixels, faces=faces, crops=crops)
    return replace(prepared, pixels=(crop_pixels(picture, preprocessing),))


def is_single(images: ImageInput | Sequence[ImageInput]) -> bool:
    """Whether this is one image, not several; TypeError if it is neither."""
    if isinstance(images, str | Path | Image.Image):
        return True
    if isinstance(images, np.ndarray) or _is_tensor(images):
        return images.ndim != 4
    if isinstance(images, Sequence):
        return False
    raise TypeError(f"{_TAKEN}, or a sequence of them, not {type(images).__name__}")


def to_image(image: Image.Image | np.ndarray[Any, Any] | Tensor) -> Image.Image:
    """Convert an image in memory to 8-bit RGB, as if it was read from its file.

    It is a PIL image of any mode, turned upright by its EXIF orientation. Or an array [h, w],
    [h, w, 1], [h, w, 3] (RGB) or [h, w, 4] (RGBA; alpha is dropped), or a tensor [h, w], [1, h, w],
    [3, h, w] or [4, h, w] on any device: uint8 in 0…255, uint16 in 0…65535, or floating point in
    0…1, which is rounded to 8 bits.

    Raises:
        TypeError: If it is of another type or dtype.
        ValueError: If it has another shape, no pixels, or values outside of 0…1.
        UnreadablePictureError: If PIL cannot decode it.
    """
    if isinstance(image, Image.Image):
        # PIL decodes an image when its pixels are first used
        with pillow_errors():
            return to_rgb(image)
    if _is_tensor(image):
        return _from_array(_channels_last(image.detach().cpu()).numpy())
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise TypeError(f"{_TAKEN}, not {type(image).__name__}")


def _is_tensor(image: object) -> TypeGuard[Tensor]:
    # importing torch takes seconds, and without it there are no tensors
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def _channels_last(tensor: Tensor) -> Tensor:
    if tensor.ndim == 3:
        if tensor.shape[0] not in {1, 3, 4}:
            raise ValueError(
                f"a tensor is [channels, height, width] with 1, 3 or 4 channels; this one is "
                f"{list(tensor.shape)}"
            )
        tensor = tensor.permute(1, 2, 0)
    # numpy has no bfloat16
    return tensor.float() if tensor.is_floating_point() else tensor


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    if array.ndim == 3 and array.shape[2] in {1, 3, 4}:
        array = array[:, :, 0] if array.shape[2] == 1 else array[:, :, :3]
    elif array.ndim != 2:
        raise ValueError(
            f"an array is [height, width] or [height, width, channels] with 1, 3 or 4 channels; "
            f"this one is {list(array.shape)}"
        )
    if not array.size:
        raise ValueError(f"an image of {list(array.shape)} has no pixels")
    return Image.fromarray(np.ascontiguousarray(_to_8_bit(array))).convert("RGB")


def _to_8_bit(array: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"pixels are uint8, uint16 or floating point in 0…1, not {array.dtype}")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            "floating-point pixels are in 0…1, before any normalisation; these are in "
            f"{array.min():g}…{array.max():g}"
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
