"""Limits of a crop recipe: faces that are too small, too blurred or turned away are left out."""

import math
from typing import Protocol

import numpy as np
from PIL import Image

from deepfake_detection.faces.detection import Face
from deepfake_detection.images.image_statistics import measure_statistics

# Sharpness is measured over this share of the box, without background and hair, at so many pixels:
# a face of 32 pixels across fills them, so that larger ones have no advantage
_MIDDLE = 0.75
_PIXELS = 24


class FaceLimits(Protocol):
    """The limits in parameters and in a crop recipe; None: no limit."""

    @property
    def min_size(self) -> float:
        """Pixels across the face in the picture."""

    @property
    def min_sharpness(self) -> float | None:
        """As `measure_sharpness` gives it."""

    @property
    def max_turn(self) -> float | None:
        """As `measure_turn` gives it."""


def find_exceeded_limit(image: Image.Image, face: Face, limits: FaceLimits) -> str | None:
    """Why a face of an RGB picture is left out; None if it is within the limits."""
    if face.width < limits.min_size:
        return (
            f"too small: {face.width:.0f} pixels across are less than min_size "
            f"({limits.min_size:g})"
        )
    # landmarks of a blurred face are inaccurate, so its turn says little
    if limits.min_sharpness is not None:
        sharpness = measure_sharpness(image, face)
        if sharpness < limits.min_sharpness:
            return (
                f"too blurred: its sharpness {sharpness:.3f} is less than min_sharpness "
                f"({limits.min_sharpness:g})"
            )
    if limits.max_turn is not None:
        turn = measure_turn(face)
        if turn > limits.max_turn:
            return (
                f"turned away: its nose is {turn:.2f} eye distances from the middle of the eyes, "
                f"more than max_turn ({limits.max_turn:g})"
            )
    return None


def measure_sharpness(image: Image.Image, face: Face) -> float:
    """Standard deviation of the Laplacian, divided by that of brightness; 0 without any contrast.

    Contrast hardly changes it, nor does the face's size, from 32 pixels across on.
    """
    left, top, right, bottom = face.box
    centre = np.array([left + right, top + bottom]) / 2
    half = np.array([right - left, bottom - top]) * _MIDDLE / 2
    # the part of the face that is in the picture, at least a pixel
    low = np.clip(centre - half, 0, np.array(image.size) - 1)
    high = np.clip(centre + half, low + 1, image.size)
    box = (*low.tolist(), *high.tolist())
    # rounding to 8 bits would make a dark face sharper: the mean of 4×4 pixels is not rounded
    larger = image.resize((4 * _PIXELS, 4 * _PIXELS), Image.Resampling.BICUBIC, box=box)
    statistics = measure_statistics(larger.convert("F").reduce(4))
    contrast = statistics["contrast"] * 255
    return math.sqrt(statistics["sharpness"]) / contrast if contrast else 0.0


def measure_turn(face: Face) -> float:
    """Distance of the nose from the middle of the eyes, along the line through both eyes.

    In eye distances: 0 for a frontal face, about 1 for a profile; infinite if the eyes coincide.
    """
    left_eye, right_eye, nose = face.landmarks[:3]
    eyes = right_eye - left_eye
    squared = float(eyes @ eyes)
    offset = float((nose - (left_eye + right_eye) / 2) @ eyes)
    return abs(offset) / squared if squared else math.inf
