"""The run that a final training repeats on all images."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from deepfake_detection.errors import UserError
from deepfake_detection.models.detector import Detector, DetectorCard
from deepfake_detection.models.run_identity import MACHINE_SETTINGS
from deepfake_detection.parameters import TrainingParameters, describe_problems
from deepfake_detection.training.build_detector import RunSettings


@dataclass(frozen=True)
class FinalRun:
    """The settings of a run that was scored, to be trained again on all images.

    Attributes:
        settings: Of the training; device and checkpoints as this machine's parameters say.
        calibration: How the run's threshold and temperature were set.
        card: Of the run's detector.
        trained_on: SHA-256 of the images that it was trained on.
    """

    settings: RunSettings
    calibration: dict[str, Any]
    card: DetectorCard
    trained_on: frozenset[bytes]

    @property
    def vouched_by(self) -> dict[str, Any]:
        """What the final detector's card says of this run."""
        card = self.card
        return {
            "run_fingerprint": card.run_fingerprint,
            "split_fingerprint": card.split["fingerprint"],
            "split_method": card.split["method"],
            "images": len(self.trained_on),
            "best_epoch": card.best_epoch,
            "best_validation_accuracy": card.best_validation_accuracy,
        }


def repeat_run(detector: Detector, machine: TrainingParameters, epochs: int | None) -> FinalRun:
    """Take a run's settings from its detector.

    Args:
        detector: That the run gave.
        machine: Says what to compute on, and when to save a checkpoint.
        epochs: To train; None for the run's best epoch.

    Raises:
        UserError: If the detector was itself trained on all images, this version does not have all
            of its settings, or the run had fewer epochs.
    """
    card = detector.card
    if card.vouched_by:
        raise UserError(
            "this detector was itself trained on all images, and nothing has scored its settings. "
            "Name that of a run which was: --params detector=path/to/file"
        )
    own = machine.model_dump(mode="json", include=set(MACHINE_SETTINGS))
    try:
        training = TrainingParameters.model_validate(card.settings["training"] | own)
    except ValidationError as error:
        raise UserError(
            "the detector's settings are not those of this version of deepfake-detection: "
            f"{describe_problems(error, TrainingParameters)}. Train again with kedro run "
            "--pipelines training"
        ) from None
    epochs = card.best_epoch if epochs is None else epochs
    if epochs > training.epochs:
        raise UserError(
            f"parameter 'final_training.epochs' is {epochs}, and the run had {training.epochs}: "
            "its learning-rate schedule ends there. null takes its best epoch"
        )
    return FinalRun(
        settings=RunSettings(card.backbone, detector.preprocessing, training, epochs),
        calibration=card.settings.get("calibration", {}),
        card=card,
        trained_on=detector.hashes_trained_on,
    )
