"""The answer to one uploaded picture or clip."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.faces.finding import FaceFinder
from deepfake_detection.faces.video import ChosenFrames, Frame
from deepfake_detection.images.preprocessing import seen_box
from deepfake_detection.models.detector import Detector, Faces
from deepfake_detection.models.devices import choose_device
from deepfake_detection.models.forward import Forward
from deepfake_detection.models.heat_maps import HeatMaps, heat_layer
from deepfake_detection.models.image_inputs import PreparedImage, prepare_image
from deepfake_detection.models.score_json import as_json
from deepfake_detection.models.scoring import NO_NUMBER, score_prepared
from deepfake_detection.models.video_scoring import score_video
from deepfake_detection.page.decoding_process import DecodingProcess
from deepfake_detection.reports.embedded_figures import data_uri

_BATCH = 16
# Pixels along the longer side of what the page shows
_SHOWN_PICTURE, _SHOWN_FRAME = 1280, 480


class UploadScorer:
    """Scores uploaded files, one call at a time.

    Args:
        detector: That scores.
        device: auto, cpu, cuda, cuda:N or mps; a `UserError` if this machine lacks it.
        decoder: Of the files.
        faces: As for `Detector.score`.
    """

    def __init__(
        self,
        detector: Detector,
        device: str,
        decoder: DecodingProcess,
        faces: Faces | FaceFinder | None = None,
    ) -> None:
        self._detector = detector
        self._forward = Forward(detector, device, "fp32")
        self._decoder = decoder
        self._finder, self._look = detector.choose_finder(faces)
        self._heat_maps: HeatMaps | None = None
        # not of a network without a layer that keeps image positions apart
        with suppress(ValueError):
            self._heat_maps = HeatMaps(detector, device=str(choose_device(device)))

    @property
    def finds_faces(self) -> bool:
        """Whether it searches pictures for faces."""
        return self._finder is not None

    @property
    def explains(self) -> bool:
        """Whether it makes heat maps."""
        return self._heat_maps is not None

    def __call__(
        self, content: bytes, *, pictures: bool = False, heat_maps: bool = False
    ) -> dict[str, Any]:
        """Score the content of one file.

        Args:
            content: Of a picture or a clip.
            pictures: Add what a page shows. Of a picture: `picture`, `crops` (what the network saw
                of each face, or of the whole picture) and `seen` (left, top, right and bottom of
                that, as shares of width and height, where the picture was scored whole). Of a clip:
                `frames`, each with number, seconds and picture. All are data URIs.
            heat_maps: Add `heat_maps` of a picture: for each crop the data URI of a PNG with an
                alpha channel, or null where the heat is not finite.

        Returns:
            `kind` (picture or clip), and all of `Score` or `VideoScore` but the path. A file that
            was read and has no verdict has an `error`, such as `no face`.

        Raises:
            UnreadablePictureError: As `DecodingProcess.open`.
            UserError: If the detector's network gives no finite number.
        """
        opened = self._decoder.open(content)
        if isinstance(opened, Image.Image):
            digest = hashlib.sha256(content).digest()
            answer = self._score_picture(opened, digest, pictures=pictures, heat_maps=heat_maps)
        else:
            answer = self._score_clip(opened, pictures=pictures)
        if answer["error"] == NO_NUMBER:
            raise UserError(NO_NUMBER)
        del answer["path"]
        return answer

    def _score_picture(
        self, image: Image.Image, digest: bytes, *, pictures: bool, heat_maps: bool
    ) -> dict[str, Any]:
        preprocessing = self._detector.preprocessing
        found = prepare_image(image, preprocessing, find_faces=self._finder, look=self._look)
        found = replace(found, sha256=digest)
        (score,) = score_prepared(self._detector, self._forward, [found], _BATCH)
        answer = {"kind": "picture"} | as_json(score)
        if pictures:
            whole = bool(found.pixels) and not found.faces
            answer |= {
                "picture": _shown(image, _SHOWN_PICTURE),
                "crops": [_encoded(Image.fromarray(each), "PNG") for each in found.pixels],
                "seen": seen_box(image.size, preprocessing) if whole else None,
            }
        if heat_maps:
            answer["heat_maps"] = self._draw_heat_maps(found)
        return answer

    def _draw_heat_maps(self, found: PreparedImage) -> list[str | None]:
        if self._heat_maps is None or not found.pixels:
            return []
        heats = self._heat_maps.explain(np.stack(found.pixels), "verdict", errors="record")
        return [
            None if np.isnan(heat).any() else _encoded(heat_layer(heat, heat.shape), "PNG")
            for heat in heats
        ]

    def _score_clip(self, chosen: ChosenFrames, *, pictures: bool) -> dict[str, Any]:
        frames: list[dict[str, Any]] = []
        if pictures:
            chosen = replace(chosen, frames=_keep_shown(chosen.frames, frames))
        score = score_video(self._detector, self._forward, "", lambda: chosen, _BATCH, self._finder)
        return {"kind": "clip"} | as_json(score) | ({"frames": frames} if pictures else {})


def _keep_shown(frames: Iterator[Frame], kept: list[dict[str, Any]]) -> Iterator[Frame]:
    """The frames; what the page shows of each is appended to `kept` as it passes."""
    for frame in frames:
        if frame.image is not None:
            width, height = frame.image.size
            kept.append({
                "number": frame.number, "seconds": frame.seconds, "width": width,
                "height": height, "picture": _shown(frame.image, _SHOWN_FRAME),
            })  # fmt: skip
        yield frame


def _shown(image: Image.Image, longest: int) -> str:
    image = image.copy()
    image.thumbnail((longest, longest), reducing_gap=2)
    return _encoded(image, "JPEG")


def _encoded(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return data_uri(f"image/{kind.lower()}", buffer.getvalue())
