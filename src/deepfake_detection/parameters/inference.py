"""A detector in use: blocks `inference` and `export`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deepfake_detection.parameters.base import (
    Answer,
    Block,
    Count,
    Device,
    Number,
    Pixels,
    Precision,
    Seed,
    Whole,
)
from deepfake_detection.parameters.data_preparation import SourceRule


class SubmissionParameters(Block):
    """The file of answers that a competition or a course takes."""

    name_column: Annotated[str, Field(min_length=1)]
    value_column: Annotated[str, Field(min_length=1)]
    name: Literal["path", "name", "stem"]
    real: Answer
    fake: Answer
    unreadable: Answer

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        if self.name_column == self.value_column:
            raise ValueError("name_column and value_column should differ")
        if self.real == self.fake:
            raise ValueError("real and fake should differ")
        return self


class InferenceParameters(Block):
    """How pictures without labels are scored: block `inference`."""

    batch_size: Count
    device: Device
    precision: Precision
    flip: bool
    max_pixels: Pixels
    source: SourceRule | None
    submission: SubmissionParameters


class ExportParameters(Block):
    """How a detector is exported to ONNX, and how the result is checked: block `export`."""

    # PyTorch's exporter writes version 18, and converts it to later ones
    opset: Annotated[Whole, Field(ge=18)] | None
    check_images: Count
    tolerance: Annotated[Number, Field(gt=0, lt=1)]
    seed: Seed
