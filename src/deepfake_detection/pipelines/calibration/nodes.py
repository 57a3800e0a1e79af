"""The node of `calibration`: threshold and temperature of a detector that is there."""

from dataclasses import replace

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import fingerprint_of_run
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.calibration import calibrate
from deepfake_detection.metrics.predicting import check_split, predict
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import CalibrationParameters, EvaluationParameters


def recalibrate_detector(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelCache,
    model: str,
    calibration: CalibrationParameters,
    evaluation: EvaluationParameters,
) -> Detector:
    """Fit threshold and temperature again, on the validation subset that chose the epoch.

    Args:
        detector: What was trained.
        split: That it was trained on.
        scored_pixels: Hold the pixels of the split at the detector's sizes.
        model: The backbone, in whose folder the detector will lie.
        calibration: The rules.
        evaluation: Batch size and device.

    Returns:
        The same network; its card has another calibration, and so is that of another run.

    Raises:
        UserError: If the split or the backbone is another than the detector's.
    """
    if detector.card.backbone != model:
        raise UserError(
            f"the detector is of {detector.card.backbone}, and results of {model} are asked for: "
            f"add --params model={detector.card.backbone}"
        )
    check_split(detector, split)
    validation = split[split["subset"] == "validation"]
    predictions = predict(detector, split, validation, scored_pixels, evaluation)
    settings = detector.card.settings | {"calibration": calibration.model_dump(mode="json")}
    run = fingerprint_of_run(settings, detector.card.split["fingerprint"])
    card = replace(detector.card, settings=settings, run_fingerprint=run)
    return calibrate(
        replace(detector, card=card),
        predictions["logit"].to_numpy(),
        predictions["label"].to_numpy(),
        calibration,
    )
