"""Distortions of pictures: JPEG compression, blur, scaling, noise, brightness.

As FaceForensics++ (Rössler et al. 2019: compression) and DeeperForensics (Jiang et al. 2020: blur,
noise, brightness) test detectors. The noise depends on the file, the strength and a seed alone, so
neither the order of the files nor the number of threads matters.
"""

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from deepfake_detection.images.reading import UnreadablePictureError, open_picture
from deepfake_detection.parameters import RobustnessParameters

_WORDS = {
    "none": "undistorted",
    "jpeg": "JPEG quality {:g}",
    "blur": "blur of sigma {:g} px",
    "scaling": "scaled to {:g} and back",
    "noise": "noise of deviation {:g} of 255",
    "brightness": "brightness × {:g}",
}
DISTORTIONS = tuple(name for name in _WORDS if name != "none")


@dataclass(frozen=True)
class Distortion:
    """One distortion at one strength.

    Attributes:
        name: `none`, `jpeg`, `blur`, `scaling`, `noise` or `brightness`.
        strength: JPEG quality; sigma of the blur in pixels; share of width and height that the
            picture is scaled down to; standard deviation of the noise in steps of 0…255; factor of
            brightness; 0 for `none`.
    """

    name: str
    strength: float

    @property
    def words(self) -> str:
        """Its description, with the unit."""
        return _WORDS[self.name].format(self.strength)

    @property
    def severity(self) -> float:
        """Rises with the change; comparable within one name only (of JPEG, minus the quality)."""
        if self.name in ("scaling", "brightness"):
            return abs(math.log(self.strength))
        return -self.strength if self.name == "jpeg" else self.strength

    def apply(self, image: Image.Image, key: str) -> Image.Image:
        """Distort an upright 8-bit RGB picture; its size stays.

        The noise depends on the key and the strength alone.
        """
        match self.name:
            case "jpeg":
                return compress(image, int(self.strength))
            case "blur":
                # Pillow approximates the Gaussian by three box filters
                return image.filter(ImageFilter.GaussianBlur(self.strength))
            case "scaling":
                return _scale_and_back(image, self.strength)
            case "noise":
                return _add_noise(image, self.strength, key)
            case "brightness":
                # all values times the factor, clipped at 255
                return ImageEnhance.Brightness(image).enhance(self.strength)
        return image


def list_distortions(robustness: RobustnessParameters) -> list[Distortion]:
    """The undistorted picture, then each distortion, from mild to strong."""
    asked = [
        Distortion(name, strength) for name in DISTORTIONS for strength in getattr(robustness, name)
    ]
    asked.sort(key=lambda each: (DISTORTIONS.index(each.name), each.severity))
    return [Distortion("none", 0.0), *asked]


def read_distorted(
    folder: Path,
    distortions: Sequence[Distortion],
    seed: int,
    prepare: Callable[[Image.Image], Any],
    path: str,
) -> list[Any] | str:
    """An image under each distortion, prepared for the network.

    If it cannot be read, the reason, in a few words.
    """
    try:
        content = (folder / path).read_bytes()
        image = open_picture(content)
        key = f"{seed} {hashlib.sha256(content).hexdigest()}"
        return [prepare(each.apply(image, key)) for each in distortions]
    # OSError also comes from a picture too long for a JPEG file
    except (OSError, UnreadablePictureError) as error:
        return getattr(error, "strerror", None) or str(error)


def compress(image: Image.Image, quality: int) -> Image.Image:
    """Save as JPEG and open again: Pillow's tables, chroma at half the width and height (4:2:0)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(buffer) as compressed:
        return compressed.convert("RGB")


def _scale_and_back(image: Image.Image, factor: float) -> Image.Image:
    """Scale width and height down by this factor, and up again (bilinear, antialiased)."""
    width, height = (max(1, round(side * factor)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def _add_noise(image: Image.Image, deviation: float, key: str) -> Image.Image:
    """Add Gaussian noise to each pixel and channel, rounded and clipped to 0…255."""
    seed = hashlib.sha256(f"{key} {float(deviation)!r}".encode()).digest()
    generator = np.random.default_rng(int.from_bytes(seed, "big"))
    pixels = np.asarray(image)
    noisy = generator.standard_normal(pixels.shape, dtype=np.float32)
    noisy *= deviation
    noisy += pixels
    return Image.fromarray(np.rint(noisy).clip(0, 255).astype(np.uint8))
