"""The blocks of scoring: `calibration`, `evaluation`, `robustness`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

# ruff: noqa: I001
# fmt: off
from deepfake_detection.parameters.base import (
    Block, Count, Device, Distinct, Number, Seed, Share, Whole, require,
)
# fmt: on


class ThresholdParameters(Block):
    """The fake probability from which a picture is called fake."""

    rule: Literal["fixed", "equal_error", "best_f1", "false_positive_rate"]
    value: Share
    false_positive_rate: Share


class TemperatureParameters(Block):
    """What logits are divided by."""

    rule: Literal["none", "scaling"]
    bounds: tuple[Annotated[Number, Field(ge=1e-6, lt=1)], Annotated[Number, Field(gt=1, le=1e6)]]


_Rate = Annotated[Number, Field(gt=0, lt=1)]


class SourceScoreParameters(Block):
    """How the score of a source (a video) is made of those of its images (frames)."""

    rule: Literal["mean_logit", "mean_probability", "top_share", "validation"]
    top_share: Annotated[Number, Field(gt=0, le=1)]


class VerdictParameters(Block):
    """When a verdict is unsure."""

    error_rate: _Rate | None
    unlike_share: _Rate | None


class CalibrationParameters(Block):
    """What is chosen on the validation subset, or set, after training: block `calibration`."""

    threshold: ThresholdParameters
    temperature: TemperatureParameters
    source_score: SourceScoreParameters
    verdict: VerdictParameters


class EvaluationParameters(Block):
    """How a detector is scored: block `evaluation`."""

    batch_size: Count
    confidence: Annotated[float, Field(gt=0, lt=1)]
    calibration_bins: Count
    few_groups: Count
    label_issues: Count
    device: Device


_changes = require(
    lambda factor: factor != 1,
    "1 changes nothing; the undistorted picture is scored in any case",
)
_Factor = Annotated[Number, Field(gt=0), AfterValidator(_changes)]


class RobustnessParameters(Block):
    """The distortions under which scored pictures are scored again: block `robustness`."""

    subset: Literal["auto", "validation", "test"]
    jpeg: Annotated[list[Annotated[Whole, Field(ge=1, le=95)]], Distinct]
    blur: Annotated[list[Annotated[Number, Field(gt=0, le=100)]], Distinct]
    scaling: Annotated[list[Annotated[Number, Field(gt=0, lt=1)]], Distinct]
    noise: Annotated[list[Annotated[Number, Field(gt=0, le=255)]], Distinct]
    brightness: Annotated[list[_Factor], Distinct]
    most_images: Count | None
    seed: Seed
