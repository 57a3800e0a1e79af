"""The answer to one uploaded image."""

import hashlib
import io
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.images.decoding_process import DecodingProcess
from deepfake_detection.images.preprocessing import crop_pixels, seen_box
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.devices import choose_device
from deepfake_detection.models.heat_maps import HeatMaps, heat_layer
from deepfake_detection.models.scoring import TRAINED_ON_IT
from deepfake_detection.reports.embedded_figures import data_uri
from deepfake_detection.reports.words import probability


class ImageScorer:
    """Scores uploaded images and makes their heat maps, one call at a time.

    Args:
        detector: That scores.
        device: auto, cpu, cuda, cuda:N or mps; a `UserError` if this machine lacks it.
        decoder: Of the files.
    """

    def __init__(self, detector: Detector, device: str, decoder: DecodingProcess) -> None:
        self._detector = detector
        self._device = str(choose_device(device))
        self._decoder = decoder
        self.heat_maps: HeatMaps | None = None
        # not of a network without a layer that keeps image positions apart
        with suppress(ValueError):
            self.heat_maps = HeatMaps(detector, device=self._device)

    def __call__(self, content: bytes) -> dict[str, Any]:
        """Score the content of one image file.

        Returns:
            As `Score`, and: sentence (verdict and threshold in words); heat_map (data URI of a PNG
            with an alpha channel, or None; the warning says if it is not finite); box (left, top,
            right and bottom of the part that was scored and that the heat map covers, as shares of
            width and height).

        Raises:
            UnreadablePictureError: As `DecodingProcess.open`.
            UserError: If the detector's network gives no finite number.
        """
        image = self._decoder.open(content)
        score = self._detector.score(image, device=self._device, errors="record", faces="given")
        if score.error:
            raise UserError(score.error)
        known = hashlib.sha256(content).digest() in self._detector.hashes_trained_on
        warnings = [score.warning, TRAINED_ON_IT if known else None]
        heat_map = None
        try:
            heat_map = self._draw_heat_map(image)
        except UserError as error:
            warnings.append(str(error))
        return asdict(score) | {
            "sentence": f"Fake probability {probability(score.fake_probability)}. The verdict is "
            f"fake from {probability(score.threshold)} on.",
            "warning": "; ".join(filter(None, warnings)) or None,
            "heat_map": heat_map,
            "box": seen_box(image.size, self._detector.preprocessing),
        }

    def _draw_heat_map(self, image: Image.Image) -> str | None:
        if self.heat_maps is None:
            return None
        pixels = crop_pixels(image, self._detector.preprocessing)
        heat = self.heat_maps.explain(pixels[None], "verdict")[0]
        buffer = io.BytesIO()
        heat_layer(heat, (len(heat), len(heat))).save(buffer, "PNG")
        return data_uri("image/png", buffer.getvalue())
