"""Compare the size and shape of an image with those of the training images."""

import numpy as np
from numpy.typing import ArrayLike

# A warning is given if the shorter side or the proportions are outside of the training range by
# more than this factor
_SIZE_FACTOR = 2.0
_PROPORTIONS_FACTOR = 1.25
# share of the training images ignored at either end, so that single outliers change nothing
_IGNORED = 0.01


def summarise_sizes(widths: ArrayLike, heights: ArrayLike) -> dict[str, list[float]]:
    """[Lowest, highest] of `shorter_side` (pixels) and `proportions` (width / height) of images."""
    sides = np.stack([np.asarray(widths), np.asarray(heights)])
    ends = (_IGNORED, 1 - _IGNORED)
    return {
        "shorter_side": np.quantile(sides.min(axis=0), ends, method="nearest").tolist(),
        "proportions": np.quantile(sides[0] / sides[1], ends, method="nearest").tolist(),
    }


def describe_input_shift(
    width: int, height: int, image_sizes: dict[str, list[float]] | None, crop: int
) -> list[str]:
    """List how an image differs from the training images; empty if it does not. All in pixels.

    `image_sizes` are from `summarise_sizes`; None if unknown, and then `crop`, the side of the
    network's input, is what the image is compared with.
    """
    low, high = (image_sizes or {}).get("shorter_side", (crop, np.inf))
    narrow, wide = (image_sizes or {}).get("proportions", (1.0, 1.0))
    reference = "the training images" if image_sizes else "the network's input"
    shifts = []
    if min(width, height) * _SIZE_FACTOR < low:
        shifts.append(
            f"{width}×{height} pixels are far fewer than in {reference} ({low:g} and more)"
        )
    if min(width, height) > high * _SIZE_FACTOR:
        shifts.append(
            f"{width}×{height} pixels are far more than in {reference} (up to {high:g}): is it a "
            "crop of one face?"
        )
    if not narrow / _PROPORTIONS_FACTOR <= width / height <= wide * _PROPORTIONS_FACTOR:
        usual = f"{narrow:.2f}" if wide - narrow < 0.01 else f"{narrow:.2f} to {wide:.2f}"
        shifts.append(
            f"width / height is {width / height:.2f}, not {usual} as in {reference}: only the "
            "centre is scored"
        )
    return shifts
