"""Studies, all blocks together, and what is said of parameters that are not valid."""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError

from deepfake_detection.parameters import blocks, comparisons, faces, scores, splits
from deepfake_detection.parameters.backbones import (
    BackboneParameters,
    Backbones,
    PreprocessingParameters,
)
from deepfake_detection.parameters.base import Block, Count, Distinct, Seed, Share, Whole
from deepfake_detection.parameters.generalisation import (
    GeneralisationParameters,
    ProtocolParameters,
)
from deepfake_detection.parameters.training import TrainingParameters


class StudyOptions(Block):
    """A study's options beside its rows: block `study`, and each study's own over it."""

    seeds: Annotated[list[Seed], Field(min_length=1), Distinct] | None
    folds: Annotated[Whole, Field(ge=3)] | None
    cumulative: bool
    overfit_above: Share | None
    note: str | None


class PublishedResult(Block):
    """What the reference published for a row."""

    best_epoch: Count | None = None
    validation_accuracy: Share | None = None


class RunParameters(Block):
    """One run of a study: its row in the study's table, its levels (`labels`) on a grid's axes."""

    row: str
    title: str
    labels: dict[str, str]
    published: PublishedResult | None
    recipe: str
    model: str
    backbones: Backbones
    split: splits.SplitParameters
    training: TrainingParameters
    calibration: scores.CalibrationParameters

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
    environment: str | None  # of --env

    @property
    def splits(self) -> dict[str, splits.SplitParameters]:
        """The different splits of its runs, by name."""
        return {run.split.name: run.split for run in self.runs.values()}

    @property
    def rows(self) -> dict[str, list[str]]:
        """The names of the runs of each row."""
        rows: dict[str, list[str]] = {}
        for name, run in self.runs.items():
            rows.setdefault(run.row, []).append(name)
        return rows


class ProjectParameters(Block):
    """All parameters of the project except the rows of studies."""

    model: str
    recipe: str
    recipes: dict[str, dict[str, Any] | None]
    backbones: Backbones
    pixels: Literal["cache", "files"]
    data_preparation: blocks.ImageSetParameters
    face_extraction: faces.FaceExtractionParameters
    split: splits.SplitParameters
    leakage: blocks.LeakageParameters
    shortcuts: blocks.ShortcutParameters
    training: TrainingParameters
    final_training: blocks.FinalTrainingParameters
    calibration: scores.CalibrationParameters
    evaluation: scores.EvaluationParameters
    robustness: scores.RobustnessParameters
    paired_comparison: comparisons.PairedComparisonParameters
    sample_size: comparisons.SampleSizeParameters
    published_results: comparisons.PublishedResults
    explanation: blocks.ExplanationParameters
    reporting: blocks.ReportingParameters
    inference: blocks.InferenceParameters
    external_evaluation: blocks.ImageSetParameters
    external_calibration: blocks.ExternalCalibrationParameters
    generalisation: GeneralisationParameters
    protocol: str | None
    protocols: dict[str, ProtocolParameters]
    export: blocks.ExportParameters
    import_checkpoint: blocks.ImportParameters
    study: StudyOptions
    studies: dict[str, str | None]


_MESSAGES = {
    "string_type": "should be text; if it is, put it in quotes",
    "model_type": "should be a block of parameters",
    "dict_type": "should be a block of parameters",
    "tuple_type": "should be a list",
}


def describe_problems(error: ValidationError, root: type[BaseModel]) -> str:
    """What pydantic found, in one line; unknown keys are compared with the fields of `root`."""
    return "; ".join(_describe(problem, root) for problem in error.errors())


def _describe(problem: Any, root: type[BaseModel]) -> str:
    # pydantic adds "[key]" where a key is wrong, as the class folder 0 without quotes
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    name, value = ".".join(location), problem["input"]
    if problem["type"] == "extra_forbidden":
        known = _fields_at(root, location[:-1])
        close = get_close_matches(location[-1], known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
        return f"unknown parameter '{name}': {hint}"
    if problem["type"] == "missing":
        return f"parameter '{name}' is missing"
    message = _MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    message = message[:1].lower() + message[1:]
    said = "" if isinstance(value, dict | BaseModel) else f" (it is {value!r})"
    return f"parameter '{name}': {message}{said}"


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    names = iter(location)
    for part in names:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else BackboneParameters
        if get_origin(annotation) is dict:
            # blocks that the user names, as sets
            annotation = get_args(annotation)[1]
            next(names, None)
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
