"""Pictures in every form that a detector takes them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from PIL import Image

from deepfake_detection.images.reading import to_rgb

if TYPE_CHECKING:
    from torch import Tensor

    ImageInput = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor


def is_single(images: ImageInput | Sequence[ImageInput]) -> bool:
    """Whether this is one picture, not several.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(images, str | Path | Image.Image):
        return True
    if isinstance(images, np.ndarray) or _is_tensor(images):
        return images.ndim != 4
    if isinstance(images, Sequence):
        return False
    raise TypeError(
        f"a detector scores paths, PIL images, arrays and tensors, or a sequence of them, not "
        f"{type(images).__name__}"
    )


def to_image(image: Image.Image | np.ndarray[Any, Any] | Tensor) -> Image.Image:
    """Turn a picture from memory into 8-bit RGB, as its file would be opened.

    Args:
        image: A PIL image of any mode, turned upright by its EXIF orientation. Or an array, [h, w],
            [h, w, 1], [h, w, 3] (red, green, blue) or [h, w, 4] (alpha, which is dropped); or a
            tensor, [h, w], [1, h, w], [3, h, w] or [4, h, w], on any device. Either is of uint8 in
            0…255, uint16 in 0…65535, or floating in 0…1, which is rounded to 8 bit.

    Raises:
        TypeError: If it is of another type or dtype.
        ValueError: If it has another shape, no pixels, or values outside of 0…1.
    """
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if _is_tensor(image):
        return _from_array(_channels_last(image.detach().cpu()).numpy())
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise TypeError(
        f"a detector scores paths, PIL images, arrays and tensors, not {type(image).__name__}"
    )


def _is_tensor(image: object) -> TypeGuard[Tensor]:
    # torch takes seconds to import; without it there are no tensors
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
        raise ValueError(f"there are no pixels in a picture of {list(array.shape)}")
    return Image.fromarray(np.ascontiguousarray(_to_8_bit(array))).convert("RGB")


def _to_8_bit(array: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"pixels are uint8, uint16 or floating in 0…1, not {array.dtype}")
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            "floating pixels lie in 0…1, before any normalisation; these go from "
            f"{array.min():g} to {array.max():g}"
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
