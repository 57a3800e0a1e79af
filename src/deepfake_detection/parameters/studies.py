"""Studies: block `study`, and what a study's own block is completed to."""

from typing import Annotated

from pydantic import Field

from deepfake_detection.parameters.base import Block, Count, Distinct, Seed, Share, Whole
from deepfake_detection.parameters.data_preparation import SplitParameters
from deepfake_detection.parameters.evaluation import CalibrationParameters
from deepfake_detection.parameters.preprocessing import Backbones, PreprocessingParameters
from deepfake_detection.parameters.training import TrainingParameters


class StudyOptions(Block):
    """A study's options beside its rows: block `study`, and each study's own over it."""

    seeds: Annotated[list[Seed], Field(min_length=1), Distinct] | None
    folds: Annotated[Whole, Field(ge=3)] | None
    overfit_above: Share | None
    note: str | None


class PublishedResult(Block):
    """What the reference published for a row."""

    best_epoch: Count | None = None
    validation_accuracy: Share | None = None


class RunParameters(Block):
    """One run of a study, with complete settings.

    `row` is the row of the study's table that it belongs to; `labels` are its levels on the axes
    of a grid.
    """

    row: str
    title: str
    labels: dict[str, str]
    published: PublishedResult | None
    model: str
    backbones: Backbones
    split: SplitParameters
    training: TrainingParameters
    calibration: CalibrationParameters

    @property
    def preprocessing(self) -> PreprocessingParameters:
        """Preprocessing of its backbone."""
        return self.backbones.preprocessing(self.model)


class StudyParameters(StudyOptions):
    """A study: a named table of runs, made from its block and the project's settings."""

    name: str
    heading: str
    axes: dict[str, list[str]]
    runs: dict[str, RunParameters]

    @property
    def splits(self) -> dict[str, SplitParameters]:
        """The different splits of its runs, by name."""
        return {run.split.name: run.split for run in self.runs.values()}

    @property
    def rows(self) -> dict[str, list[str]]:
        """The names of the runs of each row."""
        rows: dict[str, list[str]] = {}
        for name, run in self.runs.items():
            rows.setdefault(run.row, []).append(name)
        return rows
