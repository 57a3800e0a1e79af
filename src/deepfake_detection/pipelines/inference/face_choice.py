"""How faces are found in what is scored."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.finding import FaceFinder
from deepfake_detection.models.detector import Detector, Faces
from deepfake_detection.parameters import FaceExtractionParameters

log = logging.getLogger(__name__)

CutBy = Literal["detector", "face_extraction"]


@dataclass(frozen=True)
class FaceChoice:
    """What finds faces, and by whose crop recipe.

    Attributes:
        faces: As for `Detector.score`.
        recipe: How faces are cut; None: pictures are scored whole.
        cut_by: Whose recipe that is: the detector's, or that of the parameters `face_extraction`.
    """

    faces: Faces | FaceFinder | None
    recipe: CropRecipe | None = None
    cut_by: CutBy | None = None


def choose_faces(
    detector: Detector,
    faces: Literal["detector", "find", "given"],
    settings: FaceExtractionParameters,
) -> FaceChoice:
    """Choose by `inference.faces`, and say in the log what was chosen.

    A UserError says that faces cannot be found: a package or a file of weights is missing.
    """
    if faces == "given":
        log.info("Pictures and frames are scored whole, as crops of one face (inference.faces)")
        return FaceChoice("given")
    own = detector.crop_recipe
    if own is not None:
        _log_own(own, settings)
        if own.detector == "yunet":
            file = settings.yunet.file
            finder = FaceFinder(own, yunet_file=Path(file) if file else None)
            return FaceChoice(finder, own, "detector")
        return FaceChoice("find" if faces == "find" else None, own, "detector")
    if faces == "detector":
        log.warning(
            "The detector does not know how its training crops were cut: pictures and frames are "
            "scored whole, as crops of one face. inference.faces=find finds faces and cuts them "
            "by the parameters face_extraction"
        )
        return FaceChoice("given")
    finder = FaceFinder.from_parameters(settings)
    log.info(
        "Faces are found and cut by the parameters face_extraction (%s): the detector does not "
        "know how its training crops were cut",
        _describe(finder.recipe),
    )
    return FaceChoice(finder, finder.recipe, "face_extraction")


def _log_own(own: CropRecipe, settings: FaceExtractionParameters) -> None:
    told = CropRecipe.of(settings, settings.crop, own.weights_sha256)
    ours, theirs = _flatten(own.model_dump()), _flatten(told.model_dump())
    others = [f"{name}: {theirs[name]}" for name in ours if ours[name] != theirs.get(name)]
    note = f"; the parameters face_extraction differ ({', '.join(others)}) and are not used"
    log.info(
        "Faces are found and cut by the detector's own crop recipe (%s)%s",
        _describe(own), note if others else "",
    )  # fmt: skip


def _describe(recipe: CropRecipe) -> str:
    return f"{recipe.detector}, align {recipe.crop.align}, margin {recipe.crop.margin:g}"


def _flatten(settings: dict[str, Any], block: str = "") -> dict[str, Any]:
    """Settings by their full names, such as `crop.margin`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inside = isinstance(value, dict)
        flat |= _flatten(value, f"{block}{name}.") if inside else {f"{block}{name}": value}
    return flat
