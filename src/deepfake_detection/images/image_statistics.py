"""Brightness, contrast and sharpness of a picture."""

from typing import TypedDict

import numpy as np
from PIL import Image


class ImageStatistics(TypedDict):
    """Statistics of the luma of a picture, or of a part of it."""

    brightness: float  # mean, in [0, 1]
    contrast: float  # standard deviation, in [0, 0.5]
    # variance of the Laplacian of luma in [0, 255] (Pech-Pacheco 2000); it falls when the same
    # picture is enlarged
    sharpness: float


def measure_statistics(grey: Image.Image) -> ImageStatistics:
    """Brightness, contrast and sharpness of a greyscale picture (mode `L` or `F`)."""
    luma = np.asarray(grey, dtype=np.float32)
    sharpness = 0.0
    if min(luma.shape) > 2:
        centre = luma[1:-1, 1:-1]
        neighbours = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
        sharpness = float((neighbours - 4 * centre).var(dtype=np.float64))
    return {
        "brightness": float(luma.mean(dtype=np.float64)) / 255,
        "contrast": float(luma.std(dtype=np.float64)) / 255,
        "sharpness": sharpness,
    }
