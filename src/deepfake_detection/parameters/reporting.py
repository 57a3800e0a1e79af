"""What is shown of a scored detector: blocks `robustness`, `explanation` and `reporting`."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from deepfake_detection.parameters.base import Block, Count, Distinct, Number, Seed, Share, Whole


def _refuse_no_change(factor: float) -> float:
    if factor == 1:
        raise ValueError("1 changes nothing; the undistorted picture is scored in any case")
    return factor


_Factor = Annotated[Number, Field(gt=0), AfterValidator(_refuse_no_change)]


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


class ReportingParameters(Block):
    """What the report shows: block `reporting`."""

    gallery_size: Count
    gallery_columns: Count
    label_issues_shown: Count


class RegionParameters(Block):
    """A rectangle of a picture: its edges as shares of the picture's width and height."""

    left: Share
    top: Share
    right: Share
    bottom: Share

    @model_validator(mode="after")
    def _has_an_area(self) -> Self:
        if self.left >= self.right or self.top >= self.bottom:
            raise ValueError("left should be less than right, and top less than bottom")
        return self


class RegionsParameters(Block):
    """Parts of an aligned face that are measured beside the whole picture."""

    eyes: RegionParameters
    mouth: RegionParameters


class ExplanationParameters(Block):
    """Heat maps, and measures of false positives and negatives: block `explanation`."""

    false_cases: Count
    examples: Count
    smallest_grid: Annotated[Whole, Field(ge=2)]
    regions: RegionsParameters
    # a variance between groups needs two
    fewest_groups: Annotated[Whole, Field(ge=2)]
