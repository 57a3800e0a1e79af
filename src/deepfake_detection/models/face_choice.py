"""Which faces of a picture a command scores."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from deepfake_detection.faces.finding import FaceFinder

if TYPE_CHECKING:
    from deepfake_detection.command_options import FaceOptions
    from deepfake_detection.models.detector import Detector, Faces

log = logging.getLogger(__name__)


def choose_faces(detector: Detector, options: FaceOptions) -> Faces | FaceFinder | None:
    """The argument `faces` of `Detector.score` that a command's options mean."""
    if options.given:
        return "given"
    if options.margin is not None:
        return FaceFinder.with_margin(options.margin, size=detector.preprocessing.resize)
    if options.yunet is not None and detector.crop_recipe is not None:
        return FaceFinder(detector.crop_recipe, yunet_file=options.yunet)
    if detector.crop_recipe is None:
        log.warning(
            "The detector does not know how its training crops were cut: pictures are scored "
            "whole, as crops of one face. --margin finds faces"
        )
    return None
