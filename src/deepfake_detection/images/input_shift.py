"""Whether a picture looks like those that a detector was trained on, by its size and shape."""

from collections.abc import Mapping, Sequence

import numpy as np

# A picture is odd when its shorter side or its proportions lie so far outside of the training's
_FACTOR_OF_SIZE = 2.0
_FACTOR_OF_PROPORTIONS = 1.25
# of the training pictures on either side are not counted, so that one stray picture changes nothing
_LEFT_OUT = 0.01

SizeRanges = Mapping[str, Sequence[float]]


def summarise_sizes(widths: Sequence[int], heights: Sequence[int]) -> dict[str, list[float]]:
    """What sizes and proportions pictures have, stray ones left out.

    Args:
        widths: In pixels.
        heights: In pixels.

    Returns:
        `shorter_side` in pixels and `proportions` (width / height), each from lowest to highest.
    """
    sides = np.stack([np.asarray(widths), np.asarray(heights)])
    ends = (_LEFT_OUT, 1 - _LEFT_OUT)
    return {
        "shorter_side": np.quantile(sides.min(axis=0), ends, method="nearest").tolist(),
        "proportions": np.quantile(sides[0] / sides[1], ends, method="nearest").tolist(),
    }


def describe_input_shift(width: int, height: int, looks: SizeRanges | None, crop: int) -> list[str]:
    """How a picture differs from those that a detector was trained on; empty if it does not.

    Args:
        width: In pixels.
        height: In pixels.
        looks: What `summarise_sizes` gave of the training pictures; None if that is not known.
        crop: Side of the square that the network sees, in pixels.
    """
    low, high = (looks or {}).get("shorter_side", (crop, np.inf))
    narrow, wide = (looks or {}).get("proportions", (1.0, 1.0))
    known = "its training pictures" if looks else "what its network sees"
    oddities = []
    if min(width, height) * _FACTOR_OF_SIZE < low:
        oddities.append(f"{width}×{height} pixels are far fewer than in {known} ({low:g} and more)")
    if min(width, height) > high * _FACTOR_OF_SIZE:
        oddities.append(
            f"{width}×{height} pixels are far more than in {known} (up to {high:g}): is it a crop "
            "of one face?"
        )
    if not narrow / _FACTOR_OF_PROPORTIONS <= width / height <= wide * _FACTOR_OF_PROPORTIONS:
        usual = f"{narrow:.2f}" if wide - narrow < 0.01 else f"{narrow:.2f} to {wide:.2f}"
        oddities.append(
            f"width / height is {width / height:.2f}, not {usual} as in {known}: only its centre "
            "is seen"
        )
    return oddities
