"""The node of `calibration`: threshold and temperature from validation logits."""

from dataclasses import replace

import numpy as np
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
    """Set threshold and temperature on the validation subset that chose the epoch.

    The network is the same, and it stays a detector of its run.

    Raises:
        UserError: If the logits are of another run.
    """
    card = uncalibrated_detector.card
    check_same_run(card.run_fingerprint, validation_logits=validation_logits)
    settings = card.settings | {"calibration": calibration.model_dump(mode="json")}
    return calibrate(
        replace(uncalibrated_detector, card=replace(card, settings=settings)),
        validation_logits["logit"].to_numpy(dtype=np.float64),
        validation_logits["label"].to_numpy(dtype=np.int64),
        calibration,
    )
