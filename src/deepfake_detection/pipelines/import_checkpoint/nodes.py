"""The node of `import_checkpoint`."""

import logging
from pathlib import Path
from typing import Any

from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.backbones import build_detecting_network
from deepfake_detection.models.detector import CLASS_NAMES, Detector, DetectorCard
from deepfake_detection.models.detector_card import UNKNOWN_METHOD
from deepfake_detection.models.imported_weights import read_checkpoint
from deepfake_detection.models.run_identity import describe_weights, fingerprint_of
from deepfake_detection.parameters import (
    Backbones,
    FaceExtractionParameters,
    ImportParameters,
    Label,
)
from deepfake_detection.training.build_detector import list_versions

log = logging.getLogger(__name__)


def import_detector(
    checkpoint: Path,
    model: str,
    backbones: Backbones,
    import_checkpoint: ImportParameters,
    face_extraction: FaceExtractionParameters,
) -> Detector:
    """Make a detector of a checkpoint, with threshold 0.5 and temperature 1.

    Its training images are unknown: `trained_on` is empty, and its card says so.

    Raises:
        UserError: If the checkpoint is not of this backbone with two classes, or the face detector
            of `face_extraction` is asked for and missing.
    """
    told = import_checkpoint
    sizes = backbones.preprocessing(model)
    preprocessing = sizes.model_dump(mode="json")
    weights, outputs = read_checkpoint(model, checkpoint, told.class_order, sizes.crop)
    source = told.source or checkpoint.name
    split: dict[str, Any] = {
        "method": UNKNOWN_METHOD,
        "fingerprint": "",
        "note": (
            f"The weights are imported ({source}). Their training images are unknown, so any image "
            "that is scored may be one of them."
        ),
    }
    if told.crops == "face_extraction":
        faces = make_face_detector(face_extraction)
        recipe = CropRecipe.of(face_extraction, face_extraction.crop, faces.weights_sha256)
        split["crop_recipe"] = recipe.model_dump()
    fakes: dict[str, Label] = dict.fromkeys(told.fakes, "fake")
    identity = {
        "model": model,
        "preprocessing": preprocessing,
        "weights": describe_weights(str(checkpoint)),
        "class_order": list(told.class_order),
        "transform_input": told.transform_input,
    }
    card = DetectorCard(
        backbone=model,
        transform_input=told.transform_input,
        preprocessing=preprocessing,
        class_names=list(CLASS_NAMES),
        classes={"real": "real", **fakes},
        threshold=0.5,
        temperature=1.0,
        best_epoch=0,
        best_validation_accuracy=None,
        split=split,
        settings={
            "model": model,
            "preprocessing": preprocessing,
            "import_checkpoint": told.model_dump(mode="json")
            | {"source": source, "weights": identity["weights"], "outputs": outputs},
        },
        run_fingerprint=fingerprint_of(identity),
        identity=identity,
        versions=list_versions(model),
        calibration={"epoch": False},
    )
    log.info("%s Scores are not calibrated: external_calibration does so", split["note"])
    network = build_detecting_network(
        model, weights, len(CLASS_NAMES), transform_input=told.transform_input, crop=sizes.crop
    )
    return Detector(network.eval(), card, pack_hashes([]), pack_hashes([]))
