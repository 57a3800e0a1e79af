"""The blocks of comparisons: `paired_comparison`, `sample_size`, `published_results`."""

from typing import Annotated, Literal

from pydantic import Field

from deepfake_detection.parameters.base import Block, Distinct, Number, Share
from deepfake_detection.parameters.blocks import Line


class PairedComparisonParameters(Block):
    """Which detectors are compared: block `paired_comparison`."""

    # files, or folders of versions, by the names of the detectors
    detectors: dict[Line, Annotated[str, Field(min_length=1)]]

    def _check(self) -> None:
        if len(self.detectors) == 1:
            raise ValueError("detectors should name at least two, or none")


_Part = Annotated[Number, Field(gt=0, lt=1)]
_Parts = Annotated[list[_Part], Distinct]


class SampleSizeParameters(Block):
    """What planned samples should show: block `sample_size`."""

    widths: _Parts
    differences: _Parts
    power: Annotated[Number, Field(ge=0.5, lt=1)]


class PublishedFigure(Block):
    """What was published of one detector on one set of images."""

    detector: Line
    trained_on: Line
    tested_on: Line
    level: Literal["frame", "video"]
    metric: Literal["roc_auc"]
    value: Share
    # whether the epoch was chosen on the tested set; null: not known
    picked_on_test: bool | None
    source: Line
    second_hand: bool


class PublishedResults(Block):
    """Published figures, for tables beside one's own: block `published_results`."""

    figures: list[PublishedFigure]

    def _check(self) -> None:
        keys = [(each.detector, each.tested_on, each.level) for each in self.figures]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise ValueError(f"figures names {', '.join(twice)} twice")
