"""Nodes of `calibration`: threshold, temperature and source score of a detector."""

import logging
from dataclasses import replace

import pandas as pd

from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.images.splitting import draw_subsets
from deepfake_detection.metrics.calibration import (
    calibrate,
    choices_on_validation,
    fit_scale,
)
from deepfake_detection.metrics.caveats import EXTERNAL, check_same_run
from deepfake_detection.metrics.predicting import predict
from deepfake_detection.models.detector import Detector
from deepfake_detection.models.other_programs import give_scale
from deepfake_detection.parameters import (
    CalibrationParameters,
    EvaluationParameters,
    ExternalCalibrationParameters,
    ImageSetParameters,
    Ratios,
    SplitParameters,
)
from deepfake_detection.pipelines.evaluation.nodes import put_validation_first, take_all_images

log = logging.getLogger(__name__)


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
    run = uncalibrated_detector.card.run_fingerprint
    check_same_run(run, validation_logits=validation_logits)
    return _calibrate(uncalibrated_detector, validation_logits, calibration)


def _calibrate(
    detector: Detector, logits: pd.DataFrame, calibration: CalibrationParameters
) -> Detector:
    """Calibrate, and keep the settings of it in the card."""
    settings = detector.card.settings | {"calibration": calibration.model_dump(mode="json")}
    told = replace(detector, card=replace(detector.card, settings=settings))
    return calibrate(told, logits, calibration)


def split_for_calibration(
    image_index: pd.DataFrame,
    detector: Detector,
    image_set: ImageSetParameters,
    external_calibration: ExternalCalibrationParameters,
) -> pd.DataFrame:
    """Split a set from elsewhere by group into the subsets `validation` and `external`.

    Raises:
        UserError: If the detector has a validation subset of its own, or a class has one group.
    """
    if detector.card.imported_from is None:
        raise UserError(
            "external_calibration is for imported detectors: this one was calibrated on its own "
            "validation subset, and kedro run --pipelines calibration does so again"
        )
    # those of an earlier calibration, which this one replaces
    forgotten = replace(detector, validated_on=pack_hashes([]))
    split = take_all_images(image_index, forgotten, image_set)
    share = external_calibration.share
    parts = draw_subsets(
        split,
        SplitParameters(
            method="group",
            ratios=Ratios(train=share, validation=0, test=1 - share),
            seed=external_calibration.seed,
            fold=None,
            leave_out=None,
            allow_shared_groups=False,
        ),
    )
    split["subset"] = parts.map({"train": "validation", "test": EXTERNAL})
    return put_validation_first(split)


def calibrate_on_part(
    detector: Detector,
    split: pd.DataFrame,
    scored_pixels: PixelCache,
    calibration: CalibrationParameters,
    evaluation: EvaluationParameters,
) -> Detector:
    """Calibrate an imported detector on the subset `validation`, whose images it remembers.

    Scores of another program that have no known scale get one first.

    A UserError says that a choice cannot be made on them.
    """
    part = split[split["subset"] == "validation"]
    logits = predict(detector, split, part, scored_pixels, evaluation)
    if not detector.card.has_scale:
        scale = fit_scale(logits["logit"].to_numpy(), logits["label"].to_numpy())
        detector = give_scale(detector, *scale)
        logits = predict(detector, split, part, scored_pixels, evaluation)
    calibrated = _calibrate(detector, logits, calibration)
    if not choices_on_validation(calibrated.card.calibration):
        log.warning(
            "Nothing was chosen on these %d images: the rules of calibration set fixed values. "
            "For example, --params calibration.threshold.rule=equal_error chooses",
            len(part),
        )
    return replace(calibrated, validated_on=pack_hashes(part["sha256"]))
