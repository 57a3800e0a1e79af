"""Crops of faces, and the recipe by which they are made."""

import hashlib
import io
import json
from math import ceil
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from deepfake_detection.faces.detection import Face
from deepfake_detection.parameters import CropParameters, FaceDetectionParameters
from deepfake_detection.parameters.base import Block, Share
from deepfake_detection.parameters.faces import DetectionSize, MaxTurn, MinSharpness, MinSize

# Five landmarks in a picture of 112×112 pixels: ArcFace's template (Deng et al. 2019, 1801.07698)
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
) / 112  # fmt: skip
_FILE_ENDINGS = {"png": ".png", "jpeg": ".jpg"}


class CropRecipe(Block):
    """All that determines the crop of a face in a picture; a detector carries its own."""

    detector: Annotated[str, Field(max_length=200)]
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]  # of the face detector
    detection_size: DetectionSize
    min_score: Annotated[Share, Field(gt=0)]
    min_size: MinSize
    # missing in older recipes: no limit
    min_sharpness: MinSharpness | None = None
    max_turn: MaxTurn | None = None
    crop: CropParameters

    @classmethod
    def of(cls, settings: FaceDetectionParameters, crop: CropParameters, weights: str) -> Self:
        """The recipe of these parameters, with the SHA-256 of the face detector's weights."""
        shared = cls.model_fields.keys() & FaceDetectionParameters.model_fields.keys()
        return cls(weights_sha256=weights, crop=crop, **settings.model_dump(include=shared))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the recipe, hexadecimal."""
        return fingerprint_of(self.model_dump())


def fingerprint_of(settings: dict[str, Any]) -> str:
    """SHA-256 over JSON settings, hexadecimal."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def cut_crop(image: Image.Image, face: Face, crop: CropParameters) -> Image.Image:
    """The crop of a face: RGB, `crop.size` pixels square.

    With `align: none` a square around the box, with the longer side of the box times the margin.
    With `similarity` the face is turned, moved and scaled so that its landmarks come as near as
    they can to ArcFace's template, which the margin enlarges.
    """
    if crop.align == "none":
        left, top, right, bottom = face.box
        half = _half_side(face, crop)
        centre = np.array([left + right, top + bottom]) / 2
        corners = np.array([centre - half, centre + half])
        region, offset = _cut_region(image, corners, crop.border)
        left, top, right, bottom = (corners - offset).ravel().tolist()
        box = (left, top, right, bottom)
        return region.resize((crop.size, crop.size), Image.Resampling.LANCZOS, box=box)
    return _align(image, face, crop)


def encode_crop(drawn: Image.Image, crop: CropParameters) -> bytes:
    """The file of a face's crop."""
    buffer = io.BytesIO()
    drawn.save(buffer, **save_options(crop))
    return buffer.getvalue()


def crop_side(face: Face, crop: CropParameters) -> float:
    """Pixels of the picture along a side of a face's crop."""
    if crop.align == "none":
        return _half_side(face, crop) * 2
    return float(abs(_similarity(face, crop)[0])) * crop.size


def landmarks_in_crop(face: Face, crop: CropParameters) -> NDArray[np.float64]:
    """Where a face's landmarks are in its crop: [5, 2], x and y as shares of the crop's side."""
    if crop.align == "none":
        left, top, right, bottom = face.box
        centre = np.array([left + right, top + bottom]) / 2
        return 0.5 + (face.landmarks - centre) / crop_side(face, crop)
    turn, shift = _similarity(face, crop)
    places = (face.landmarks @ [1, 1j] - shift) / turn / crop.size
    return np.stack((places.real, places.imag), axis=1)


def _half_side(face: Face, crop: CropParameters) -> float:
    left, top, right, bottom = face.box
    return float(max(right - left, bottom - top) * crop.margin / 2)


def _similarity(face: Face, crop: CropParameters) -> tuple[complex, complex]:
    """Turn and shift: z ↦ turn · z + shift over complex numbers maps the crop to the picture."""
    template = (0.5 + (_TEMPLATE - 0.5) / crop.margin) * crop.size
    here, there = template @ [1, 1j], face.landmarks @ [1, 1j]
    centred = here - here.mean()
    turn = np.vdot(centred, there) / np.vdot(centred, centred)
    return turn, there.mean() - turn * here.mean()


def _align(image: Image.Image, face: Face, crop: CropParameters) -> Image.Image:
    turn, shift = _similarity(face, crop)
    corners = turn * (np.array([0, 1, 1j, 1 + 1j]) * crop.size) + shift
    bounds = np.array(
        [[corners.real.min(), corners.imag.min()], [corners.real.max(), corners.imag.max()]]
    )
    region, offset = _cut_region(image, bounds, crop.border)
    shift -= complex(*offset)
    # where the crop shrinks the face, it is drawn larger first, so that no pixel is skipped
    times = max(1, ceil(abs(turn)))
    scaled = turn / times
    matrix = (scaled.real, -scaled.imag, shift.real, scaled.imag, scaled.real, shift.imag)
    side = crop.size * times
    drawn = region.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return drawn.resize((crop.size, crop.size), Image.Resampling.BOX)


def _cut_region(
    image: Image.Image, corners: NDArray[np.float64], border: str
) -> tuple[Image.Image, NDArray[np.int64]]:
    """The pixels around two corners, and where they start; what lies outside is made up."""
    # two pixels more than needed, for interpolation
    low = np.floor(corners[0]).astype(int) - 2
    high = np.ceil(corners[1]).astype(int) + 2
    inside_low = np.clip(low, 0, np.array(image.size) - 1)
    inside_high = np.clip(high, inside_low + 1, image.size)
    pixels = np.asarray(image.crop((*inside_low.tolist(), *inside_high.tolist())))
    before, after = np.maximum(inside_low - low, 0), np.maximum(high - inside_high, 0)
    if before.any() or after.any():
        widths = ((before[1], after[1]), (before[0], after[0]), (0, 0))
        pixels = np.pad(pixels, widths, mode="symmetric" if border == "reflected" else "constant")
    return Image.fromarray(pixels), low


def file_ending(crop: CropParameters) -> str:
    """The ending of the files that crops are saved in."""
    return _FILE_ENDINGS[crop.format]


def save_options(crop: CropParameters) -> dict[str, Any]:
    """How Pillow saves a crop; the same for every class, since detectors learn a difference."""
    if crop.format == "jpeg":
        # colours at full resolution
        return {"format": "JPEG", "quality": crop.quality, "subsampling": 0}
    # files are 8 % larger than at level 3, which would take a tenth of the extraction's time
    return {"format": "PNG", "compress_level": 1}
