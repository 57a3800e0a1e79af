"""The node of `calibration`: threshold, temperature and source score from validation logits."""

from dataclasses import replace

import pandas as pd

from deepfake_detection.metrics.calibration import calibrate
from deepfake_detection.metrics.caveats import check_same_run
from deepfake_detection.models.detector import Detector
from deepfake_detection.parameters import CalibrationParameters


def calibrate_detector(
    uncalibrated_detector: Detector,
    validation_logits: pd.DataFrame,
    calibration: CalibrationParameters,
) -> Detector:
    """Set threshold, temperature and source score on the validation subset that chose the epoch.

    The network is the same, and it stays a detector of its run.

    Raises:
        UserError: If the logits are of another run, or a choice cannot be made on them.
    """
    card = uncalibrated_detector.card
    check_same_run(card.run_fingerprint, validation_logits=validation_logits)
    settings = card.settings | {"calibration": calibration.model_dump(mode="json")}
    return calibrate(
        replace(uncalibrated_detector, card=replace(card, settings=settings)),
        validation_logits,
        calibration,
    )
