"""The answer to one uploaded image."""

import hashlib
import io
from typing import Any

import numpy as np
from PIL import Image

from deepfake_detection.images.preprocessing import crop_pixels, seen_box
from deepfake_detection.images.reading import open_picture
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.devices import choose_device
from deepfake_detection.models.heat_maps import HeatMaps, heat_layer
from deepfake_detection.models.scoring import TRAINED_ON_IT
from deepfake_detection.reports.embedded_figures import data_uri
from deepfake_detection.reports.words import probability

# The formats of photographs that Pillow decodes in memory. Others start programs (EPS) or write
# temporary files. JPEG includes the multi-picture files of phones.
_PHOTOGRAPHS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "JPEG2000")
Image.init()
# some installations of Pillow lack one or another
FORMATS = tuple(name for name in _PHOTOGRAPHS if name in Image.OPEN)


class ImageScorer:
    """Scores uploaded images and makes their heat maps, one call at a time.

    Args:
        detector: That scores.
        device: auto, cpu, cuda, cuda:N or mps; a `UserError` if this machine lacks it.
        max_pixels: Width × height of the largest image that is decoded.
    """

    def __init__(self, detector: Detector, device: str, max_pixels: int) -> None:
        self._detector = detector
        self._device = str(choose_device(device))
        self._max_pixels = max_pixels
        self.heat_maps: HeatMaps | None = None
        try:
            self.heat_maps = HeatMaps(detector, device=self._device)
        # a network without a layer that keeps image positions apart
        except ValueError:
            return

    def __call__(self, content: bytes) -> dict[str, Any]:
        """Score the content of one image file.

        Returns:
            fake_probability, verdict, threshold, warning, width and height, as in `Score`; sentence
            (the first three in words); heat_map (data URI of a PNG with an alpha channel, or None);
            box (left, top, right and bottom of the part that was scored and that the heat map
            covers, as shares of width and height).

        Raises:
            UnreadablePictureError: If the file cannot be read as an image.
            TooManyPixelsError: If it has more than `max_pixels`.
        """
        image = open_picture(content, self._max_pixels, FORMATS)
        score = self._detector.score(image, device=self._device)
        known = hashlib.sha256(content).digest() in self._detector.hashes_trained_on
        warnings = [score.warning, TRAINED_ON_IT if known else None]
        return {
            "fake_probability": score.fake_probability,
            "verdict": score.verdict,
            "threshold": score.threshold,
            "sentence": f"Fake probability {probability(score.fake_probability)}. The verdict is "
            f"fake from {probability(score.threshold)} on.",
            "warning": "; ".join(filter(None, warnings)) or None,
            "width": image.width,
            "height": image.height,
            "heat_map": self._draw_heat_map(image),
            "box": seen_box(image.size, self._detector.preprocessing),
        }

    def _draw_heat_map(self, image: Image.Image) -> str | None:
        if self.heat_maps is None:
            return None
        pixels = crop_pixels(image, self._detector.preprocessing)
        heat = self.heat_maps.explain(np.stack([pixels]), "verdict")[0]
        buffer = io.BytesIO()
        heat_layer(heat, (len(heat), len(heat))).save(buffer, "PNG")
        return data_uri("image/png", buffer.getvalue())
