"""All blocks together, and what is said of those that do not fit."""

from difflib import get_close_matches
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from deepfake_detection.parameters.base import Block
from deepfake_detection.parameters.data_preparation import (
    ImageSetParameters,
    LeakageParameters,
    SplitParameters,
)
from deepfake_detection.parameters.evaluation import CalibrationParameters, EvaluationParameters
from deepfake_detection.parameters.inference import ExportParameters, InferenceParameters
from deepfake_detection.parameters.preprocessing import BackboneParameters, Backbones
from deepfake_detection.parameters.reporting import (
    ExplanationParameters,
    ReportingParameters,
    RobustnessParameters,
)
from deepfake_detection.parameters.studies import StudyOptions
from deepfake_detection.parameters.training import FinalTrainingParameters, TrainingParameters


class ProjectParameters(Block):
    """All parameters of the project except the rows of studies."""

    model: str
    backbones: Backbones
    pixels: Literal["cache", "files"]
    data_preparation: ImageSetParameters
    split: SplitParameters
    leakage: LeakageParameters
    training: TrainingParameters
    final_training: FinalTrainingParameters
    calibration: CalibrationParameters
    evaluation: EvaluationParameters
    robustness: RobustnessParameters
    explanation: ExplanationParameters
    reporting: ReportingParameters
    inference: InferenceParameters
    external_evaluation: ImageSetParameters
    export: ExportParameters
    study: StudyOptions
    studies: dict[str, str | None]


_MESSAGES = {
    "string_type": "should be text; if it is, put it in quotes",
    "model_type": "should be a block of parameters",
    "dict_type": "should be a block of parameters",
    "tuple_type": "should be a list",
}


def describe_problems(error: ValidationError, root: type[BaseModel]) -> str:
    """Describe what pydantic found, in one line: parameter, problem, value.

    Args:
        error: Raised by pydantic.
        root: The validated model; unknown keys are compared with its fields.
    """
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
    for part in location:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else BackboneParameters
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
