"""What the page says of a picture."""

import hashlib
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from deepfake_detection.images.preprocessing import crop_pixels, seen_box
from deepfake_detection.images.reading import (
    TooManyPixelsError,
    UnreadablePictureError,
    open_picture,
)
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.devices import choose_device
from deepfake_detection.models.heat_maps import HeatMaps, heat_layer
from deepfake_detection.models.scoring import TRAINED_ON_IT, Score
from deepfake_detection.page.problems import Problem
from deepfake_detection.reports.embedded_figures import data_uri
from deepfake_detection.reports.words import probability

# Those in which photographs come, and that are decoded in memory alone: others that Pillow reads
# start programs (EPS) or write files on the way. JPEG includes what phones make of several.
_PHOTOGRAPHS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000")
_MEGA = 10**6


@dataclass(frozen=True)
class Answer:
    """What is known of one picture.

    Attributes:
        fake_probability: In [0, 1].
        verdict: `fake` from the threshold on, else `real`.
        threshold: The detector's.
        sentence: All three in words.
        warning: What makes the score doubtful; None for nothing.
        width: Of the upright picture in pixels.
        height: See `width`.
        heat_map: What spoke for the verdict, as the data URI of a PNG with an alpha channel, to be
            laid over `box`; None where the network has none.
        box: Left, top, right and bottom of what the network saw, as shares of width and height.
    """

    fake_probability: float
    verdict: Literal["real", "fake"] | None
    threshold: float
    sentence: str
    warning: str | None
    width: int
    height: int
    heat_map: str | None
    box: tuple[float, float, float, float]


def list_types() -> tuple[str, ...]:
    """The types of picture that are taken: some installations of Pillow lack one or another."""
    Image.init()
    return tuple(name for name in _PHOTOGRAPHS if name in Image.OPEN)


class Answers:
    """Scores pictures and finds the reasons, one call at a time.

    Args:
        detector: That scores.
        device: auto, cpu, cuda, cuda:N or mps.
        max_pixels: Width × height of the largest picture that is decoded.

    Raises:
        UserError: If this machine lacks the device.
    """

    def __init__(self, detector: Detector, device: str, max_pixels: int) -> None:
        self._detector = detector
        self._device = str(choose_device(device))
        self._max_pixels = max_pixels
        self._types = list_types()
        self._heat_maps = _make_heat_maps(detector, self._device)

    @property
    def explain(self) -> bool:
        """Whether they have heat maps."""
        return self._heat_maps is not None

    def __call__(self, content: bytes) -> Answer:
        """Score one picture.

        Args:
            content: Its whole file.

        Raises:
            Problem: If the file cannot be read as a picture, or is too large a one.
        """
        picture = self._open(content)
        score = self._detector.score(picture, device=self._device)
        return Answer(
            fake_probability=score.fake_probability,
            verdict=score.verdict,
            threshold=score.threshold,
            sentence=_in_words(score),
            warning=self._warn(score, content),
            width=picture.width,
            height=picture.height,
            heat_map=self._draw_heat(picture),
            box=seen_box(picture.size, self._detector.preprocessing),
        )

    def _open(self, content: bytes) -> Image.Image:
        try:
            return open_picture(content, self._max_pixels, self._types)
        except TooManyPixelsError:
            most = f"{self._max_pixels / _MEGA:g}"
            raise Problem(
                413, f"The picture has more than {most} megapixels, the most that is taken."
            ) from None
        except UnreadablePictureError as error:
            raise Problem(400, f"This cannot be read as a picture: {error}.") from None

    def _warn(self, score: Score, content: bytes) -> str | None:
        known = hashlib.sha256(content).digest() in self._detector.hashes_trained_on
        warnings = [score.warning, TRAINED_ON_IT if known else None]
        return "; ".join(filter(None, warnings)) or None

    def _draw_heat(self, picture: Image.Image) -> str | None:
        if self._heat_maps is None:
            return None
        pixels = crop_pixels(picture, self._detector.preprocessing)
        heat = self._heat_maps.explain(np.stack([pixels]), "verdict")[0]
        buffer = io.BytesIO()
        heat_layer(heat, (len(heat), len(heat))).save(buffer, "PNG")
        return data_uri("image/png", buffer.getvalue())


def _make_heat_maps(detector: Detector, device: str) -> HeatMaps | None:
    try:
        return HeatMaps(detector, device=device)
    # a network whose layers keep no places apart
    except ValueError:
        return None


def _in_words(score: Score) -> str:
    return (
        f"Fake probability {probability(score.fake_probability)}. From "
        f"{probability(score.threshold)} on, this detector says fake."
    )
