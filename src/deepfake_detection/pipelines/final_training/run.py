"""The run that a final training repeats on all images."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from deepfake_detection.errors import UserError
from deepfake_detection.models.detector import Detector, DetectorCard
from deepfake_detection.parameters import (
    CalibrationParameters,
    PreprocessingParameters,
    TrainingParameters,
    describe_problems,
)

# What this machine decides, not the run that is repeated
_OF_THE_MACHINE = frozenset(
    {"device", "devices", "machines", "rendezvous", "precision", "compile", "checkpoint"}
)


@dataclass(frozen=True)
class FinalRun:
    """Settings of a run that was scored, to be trained again on all images.

    Attributes:
        model: The backbone.
        preprocessing: Sizes and normalisation.
        training: The recipe, computed as this machine's parameters say.
        calibration: How the run's threshold and temperature were set.
        epochs: To train; fewer than the recipe's where its best epoch came before the last.
        card: Of the detector that the run gave.
        learned: SHA-256 of the images that it was trained on.
    """

    model: str
    preprocessing: PreprocessingParameters
    training: TrainingParameters
    calibration: CalibrationParameters
    epochs: int
    card: DetectorCard
    learned: frozenset[bytes]

    @property
    def vouched_by(self) -> dict[str, Any]:
        """What the final detector's card says of this run."""
        card = self.card
        return {
            "run_fingerprint": card.run_fingerprint,
            "split_fingerprint": card.split["fingerprint"],
            "split_method": card.split["method"],
            "images": len(self.learned),
            "best_epoch": card.best_epoch,
            "best_validation_accuracy": card.best_validation_accuracy,
        }


def repeat_run(detector: Detector, machine: TrainingParameters, epochs: int | None) -> FinalRun:
    """Take a run's settings from its detector.

    Args:
        detector: What the run gave.
        machine: Says what to compute on, and when to keep a state.
        epochs: To train; None for the run's best epoch.

    Raises:
        UserError: If the detector was itself trained on all images, its settings are not those of
            this version, or the run had fewer epochs.
    """
    card = detector.card
    if card.vouched_by:
        raise UserError(
            "this detector was itself trained on all images, and nothing has scored its settings. "
            "Name that of a run which was: --params detector=path/to/file"
        )
    own = machine.model_dump(mode="json", include=set(_OF_THE_MACHINE))
    try:
        training = TrainingParameters.model_validate(card.settings["training"] | own)
        calibration = CalibrationParameters.model_validate(card.settings["calibration"])
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
            "learning rates have no course beyond. null takes its best epoch"
        )
    return FinalRun(
        model=card.backbone,
        preprocessing=detector.preprocessing,
        training=training,
        calibration=calibration,
        epochs=epochs,
        card=card,
        learned=detector.hashes_trained_on,
    )
