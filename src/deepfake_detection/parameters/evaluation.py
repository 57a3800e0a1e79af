"""Scores and how they are calibrated: blocks `calibration` and `evaluation`."""

from typing import Annotated, Literal

from pydantic import Field

from deepfake_detection.parameters.base import Block, Count, Device, Rate, Share


class ThresholdParameters(Block):
    """The fake probability from which a picture is called fake."""

    rule: Literal["fixed", "equal_error", "best_f1", "false_positive_rate"]
    value: Share
    false_positive_rate: Share


class TemperatureParameters(Block):
    """What logits are divided by."""

    rule: Literal["none", "scaling"]
    bounds: tuple[Annotated[Rate, Field(lt=1)], Annotated[Rate, Field(gt=1)]]


class CalibrationParameters(Block):
    """How threshold and temperature are chosen on the validation subset: block `calibration`."""

    threshold: ThresholdParameters
    temperature: TemperatureParameters


class EvaluationParameters(Block):
    """How a detector is scored: block `evaluation`."""

    batch_size: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    calibration_bins: Count
    few_groups: Count
    label_issues: Count
    device: Device
