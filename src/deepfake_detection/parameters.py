"""Typed models of the parameter files, one for each block of `conf/base/parameters*.yml`.

The models check and name; they hold no defaults. Every value stands in a parameter file, with a
comment that gives its meaning, its unit and, where it differs, the reference recipe's value.
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

Label = Literal["real", "fake"]


def _check_pattern(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    if compiled.groups == 0:
        raise ValueError("needs a group in round brackets that catches the name, as in (.+)_\\d+")
    return pattern


def _refuse_booleans(value: Any) -> Any:
    # pydantic would take `true` for the number 1
    if isinstance(value, bool):
        raise ValueError("should be a number")  # noqa: TRY004  (pydantic reports ValueErrors)
    return value


Pattern = Annotated[str, AfterValidator(_check_pattern)]
Whole = Annotated[int, BeforeValidator(_refuse_booleans)]
Number = Annotated[float, BeforeValidator(_refuse_booleans)]

Count = Annotated[Whole, Field(gt=0)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
Share = Annotated[Number, Field(ge=0, le=1)]
Rate = Annotated[Number, Field(gt=0)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
Devices = Literal["auto"] | Count
Rendezvous = Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")]
Precision = Literal["auto", "fp32", "bf16"]
Answer = Whole | Number | str
Colour = tuple[Number, Number, Number]
Spread = tuple[Rate, Rate, Rate]

# Pillow opens no larger ones (twice its MAX_IMAGE_PIXELS), as a guard against decompression bombs.
_LARGEST_PICTURE = 178_956_970


class Block(BaseModel):
    """A block of parameters: complete, without unknown keys, not changed by anyone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SourceRule(Block):
    """How images of one class are put together into sources."""

    rule: Literal["consecutive", "pattern", "image"]
    size: Count
    pattern: Pattern | None

    @model_validator(mode="after")
    def _needs_pattern(self) -> Self:
        if self.rule == "pattern" and self.pattern is None:
            raise ValueError("pattern must be given when rule is 'pattern'")
        return self


class GroupRule(Block):
    """How sources are put together into groups, which a grouped split keeps in one subset."""

    rule: Literal["source", "same_number", "pattern"]
    pattern: Pattern | None

    @model_validator(mode="after")
    def _needs_pattern(self) -> Self:
        if self.rule == "pattern" and self.pattern is None:
            raise ValueError("pattern must be given when rule is 'pattern'")
        return self


class ImageSetParameters(Block):
    """How a folder of labelled images is read: `data_preparation`, `external_evaluation`."""

    classes: dict[str, Label | None]
    source: SourceRule
    group: GroupRule
    max_rejected_share: Share
    max_pixels: Annotated[Whole, Field(gt=0, le=_LARGEST_PICTURE)]
    note: str | None

    @model_validator(mode="after")
    def _needs_both_labels(self) -> Self:
        labels = set(self.classes.values())
        if missing := [label for label in ("real", "fake") if label not in labels]:
            raise ValueError(f"no class folder has the label '{missing[0]}' in classes")
        for name in self.classes:
            parts = name.split("/")
            if name.startswith("/") or any(part in ("", ".", "..") for part in parts):
                raise ValueError(f"class folder '{name}' is not a path inside the image folder")
        nested = [a for a in self.classes for b in self.classes if a.startswith(f"{b}/")]
        if nested:
            raise ValueError(f"class folder '{nested[0]}' lies inside another class folder")
        return self


class Ratios(Block):
    """Shares of each class that go to each subset; they sum to 1."""

    train: Annotated[Number, Field(gt=0, le=1)]
    validation: Share
    test: Share

    @model_validator(mode="after")
    def _sum_to_one(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test sum to {total:g}, not to 1")
        return self


class Fold(Block):
    """Which fold of a cross-validation is scored: number `number` of `of`."""

    number: Count
    # one is scored, one chooses the epoch, and something has to train
    of: Annotated[Whole, Field(ge=3)]

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.number > self.of:
            raise ValueError(f"there is no fold {self.number} of {self.of}")
        return self


class SplitParameters(Block):
    """How the image index is cut into train, validation and test."""

    method: Literal["group", "individual"]
    ratios: Ratios
    seed: Seed
    fold: Fold | None

    @property
    def shares(self) -> Ratios:
        """What goes to each subset: the ratios, or what a fold makes of them."""
        if self.fold is None:
            return self.ratios
        part = 1 / self.fold.of
        return Ratios(train=1 - 2 * part, validation=part, test=part)

    @property
    def name(self) -> str:
        """Method, per cents of each subset and seed, as a name: `group_80_20`."""
        if self.fold is not None:
            return f"{self.method}_fold_{self.fold.number}_of_{self.fold.of}_seed_{self.seed}"
        shares = [self.ratios.train, self.ratios.validation]
        shares += [self.ratios.test] if self.ratios.test > 0 else []
        numbers = [f"{share * 100:.6g}".replace(".", "p") for share in shares]
        return "_".join([self.method, *numbers, *([f"seed_{self.seed}"] if self.seed else [])])


class LeakageParameters(Block):
    """Which pictures of different subsets are near-duplicates: block `leakage`."""

    hash_distance: Annotated[Whole, Field(ge=0, le=16)]
    correlation: Annotated[Number, Field(gt=0, le=1)]
    # the sums behind a correlation are exact up to here
    thumbnail: Annotated[Whole, Field(ge=8, le=256)]
    least_contrast: Annotated[Number, Field(ge=0, le=0.5)]
    most_candidates: Count
    gallery_pairs: Count
    gallery_columns: Count


class PreprocessingParameters(Block):
    """What is deterministic between an opened picture and a network's input."""

    resize: Count
    crop: Count
    mean: Colour
    std: Spread

    @model_validator(mode="after")
    def _crop_inside(self) -> Self:
        if self.crop > self.resize:
            raise ValueError(f"crop ({self.crop}) is larger than resize ({self.resize})")
        return self


class BackboneParameters(Block):
    """Preprocessing of one backbone; what is left out is that of `backbones.default`."""

    resize: Count | None = None
    crop: Count | None = None
    mean: Colour | None = None
    std: Spread | None = None


class Backbones(BaseModel):
    """Preprocessing by backbone: `default`, and entries by torchvision's names."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, BackboneParameters]

    default: PreprocessingParameters

    @model_validator(mode="after")
    def _merge(self) -> Self:
        for name in self.names:
            try:
                self.preprocessing(name)
            except ValidationError as error:
                raise ValueError(f"{name}: {_say(error.errors()[0])}") from None
        return self

    @property
    def names(self) -> list[str]:
        """Backbones that have an entry of their own."""
        return list(self.__pydantic_extra__)

    def preprocessing(self, model: str) -> PreprocessingParameters:
        """Preprocessing of the backbone `model`: its own values over the default's."""
        own = self.__pydantic_extra__.get(model, BackboneParameters())
        merged = self.default.model_dump() | own.model_dump(exclude_none=True)
        return PreprocessingParameters.model_validate(merged)


class OptimizerParameters(Block):
    """Adam with two parameter groups: the head, and the rest."""

    name: Literal["adam"]
    lr: Rate
    head_lr_multiple: Rate
    betas: tuple[Annotated[Number, Field(ge=0, lt=1)], Annotated[Number, Field(ge=0, lt=1)]]
    weight_decay: Annotated[Number, Field(ge=0)]


class ScheduleParameters(Block):
    """How learning rates fall from epoch to epoch."""

    name: Literal["none", "step", "exponential", "cosine"]
    step_size: Count
    gamma: Annotated[Number, Field(gt=0, le=1)]


class LossParameters(Block):
    """Cross-entropy, its class weights and the weight of an auxiliary output."""

    class_weights: Literal["none", "balanced"]
    auxiliary_weight: Annotated[Number, Field(ge=0)]


class AugmentationParameters(Block):
    """What is drawn for each training image in each epoch."""

    flip: Share
    rotation: Annotated[Number, Field(ge=0, le=180)]


class EarlyStoppingParameters(Block):
    """When training ends before its last epoch; no patience, never."""

    patience: Count | None


class CheckpointParameters(Block):
    """How a training's state is kept, from which it goes on after an interruption."""

    minutes: Annotated[Number, Field(ge=0)]
    resume: bool


class TrainingParameters(Block):
    """One run's training: block `training`."""

    weights: Annotated[str, Field(min_length=1)]
    epochs: Count
    batch_size: Annotated[Whole, Field(ge=2)]
    shuffle: bool
    optimizer: OptimizerParameters
    schedule: ScheduleParameters
    loss: LossParameters
    augmentation: AugmentationParameters
    early_stopping: EarlyStoppingParameters
    device: Device
    devices: Devices
    machines: Count
    rendezvous: Rendezvous | None
    precision: Precision
    compile: bool
    seed: Seed
    checkpoint: CheckpointParameters

    @model_validator(mode="after")
    def _needs_rendezvous(self) -> Self:
        if self.machines > 1 and self.rendezvous is None:
            raise ValueError("rendezvous must be given as HOST:PORT when machines is above 1")
        return self


class FinalTrainingParameters(Block):
    """Training on all labelled images: block `final_training`."""

    epochs: Count | None


class ThresholdParameters(Block):
    """From which fake probability on a picture is called fake."""

    rule: Literal["fixed", "equal_error", "best_f1", "false_positive_rate"]
    value: Share
    false_positive_rate: Share


class TemperatureParameters(Block):
    """What logits are divided by."""

    rule: Literal["none", "scaling"]
    bounds: tuple[Rate, Rate]

    @model_validator(mode="after")
    def _around_one(self) -> Self:
        low, high = self.bounds
        if not low < 1 < high:
            raise ValueError(f"bounds ({low:g} to {high:g}) should lie below and above 1")
        return self


class CalibrationParameters(Block):
    """How validation sets threshold and temperature: block `calibration`."""

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


class SubmissionParameters(Block):
    """The file of answers that a competition or a course takes."""

    name_column: Annotated[str, Field(min_length=1)]
    value_column: Annotated[str, Field(min_length=1)]
    name: Literal["path", "name", "stem"]
    real: Answer
    fake: Answer
    unreadable: Answer

    @model_validator(mode="after")
    def _two_columns(self) -> Self:
        if self.name_column == self.value_column:
            raise ValueError("name_column and value_column should differ")
        if self.real == self.fake:
            raise ValueError("real and fake should differ")
        return self


class InferenceParameters(Block):
    """How pictures that nobody labelled are scored: block `inference`."""

    batch_size: Count
    device: Device
    precision: Precision
    flip: bool
    max_pixels: Annotated[Whole, Field(gt=0, le=_LARGEST_PICTURE)]
    source: SourceRule | None
    submission: SubmissionParameters


def _refuse_no_change(factor: float) -> float:
    if factor == 1:
        raise ValueError("1 changes nothing; the undistorted picture is scored in any case")
    return factor


def _refuse_twice(strengths: list[float]) -> list[float]:
    if len(set(strengths)) < len(strengths):
        raise ValueError("names a strength twice")
    return strengths


_Once = AfterValidator(_refuse_twice)


class RobustnessParameters(Block):
    """Under which distortions scored pictures are scored again: block `robustness`."""

    subset: Literal["auto", "validation", "test"]
    jpeg: Annotated[list[Annotated[Whole, Field(ge=1, le=95)]], _Once]
    blur: Annotated[list[Annotated[Number, Field(gt=0, le=100)]], _Once]
    scaling: Annotated[list[Annotated[Number, Field(gt=0, lt=1)]], _Once]
    noise: Annotated[list[Annotated[Number, Field(gt=0, le=255)]], _Once]
    brightness: Annotated[
        list[Annotated[Number, Field(gt=0), AfterValidator(_refuse_no_change)]], _Once
    ]
    most_images: Count | None
    seed: Seed


class ReportingParameters(Block):
    """What the report shows: block `reporting`."""

    gallery_size: Count
    gallery_columns: Count
    label_issues_shown: Count


class RegionParameters(Block):
    """A part of a picture: its edges as shares of the picture's width and height."""

    left: Share
    top: Share
    right: Share
    bottom: Share

    @model_validator(mode="after")
    def _has_an_area(self) -> Self:
        if self.left >= self.right:
            raise ValueError(f"left ({self.left:g}) is not left of right ({self.right:g})")
        if self.top >= self.bottom:
            raise ValueError(f"top ({self.top:g}) is not above bottom ({self.bottom:g})")
        return self


class RegionsParameters(Block):
    """Parts of an aligned face picture that are measured beside the whole."""

    eyes: RegionParameters
    mouth: RegionParameters


class ExplanationParameters(Block):
    """How verdicts are explained, and false cases measured: block `explanation`."""

    false_cases: Count
    examples: Count
    smallest_grid: Annotated[Whole, Field(ge=2)]
    regions: RegionsParameters
    # a variance between groups needs two
    fewest_groups: Annotated[Whole, Field(ge=2)]


class BenchmarkParameters(Block):
    """What the benchmark compares: block `benchmark`."""

    backbones: Annotated[list[str], Field(min_length=1)]
    batch_sizes: Annotated[list[Annotated[Whole, Field(ge=2)]], Field(min_length=1)]
    precisions: Annotated[list[Precision], Field(min_length=1)]
    images: Count
    seconds: Annotated[Number, Field(gt=0)]
    repeats: Count
    plain_workers: Literal["auto"] | Annotated[Whole, Field(ge=0)]
    seed: Seed


class ExportParameters(Block):
    """How a detector is exported to ONNX, and how the result is checked: block `export`."""

    # the exporter translates into 18 and, from there, into later ones
    opset: Annotated[Whole, Field(ge=18)] | None
    check_images: Count
    tolerance: Annotated[Number, Field(gt=0, lt=1)]
    seed: Seed


class StudyOptions(Block):
    """What a study has beside its rows: block `study`, and each study's own over it."""

    seeds: Annotated[list[Seed], Field(min_length=1)] | None
    folds: Annotated[Whole, Field(ge=3)] | None
    overfit_above: Share | None
    note: str | None

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds names a seed twice")
        return self


class PublishedResult(Block):
    """What the reference published for a row."""

    best_epoch: Count | None = None
    validation_accuracy: Share | None = None


class RunParameters(Block):
    """One run of a study, with complete settings.

    `row` is the row of the study's table that it belongs to; `labels` are its places on the axes
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
        """That of its backbone."""
        return self.backbones.preprocessing(self.model)


class StudyParameters(StudyOptions):
    """A study: a named table of runs, as it is made out of its block and the base settings."""

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
        """The runs of each row."""
        rows: dict[str, list[str]] = {}
        for name, run in self.runs.items():
            rows.setdefault(run.row, []).append(name)
        return rows


class ProjectParameters(Block):
    """All parameters of the project but the studies' own. A block of your own gets a field here."""

    model: str
    backbones: Backbones
    pixels: Literal["store", "files"]
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
    benchmark: BenchmarkParameters
    export: ExportParameters
    study: StudyOptions
    studies: dict[str, str | None]


def describe_problems(error: ValidationError, root: type[BaseModel]) -> str:
    """One line for each problem that pydantic found: the parameter, what is wrong, what to do.

    Args:
        error: What pydantic raised.
        root: The model that was validated; unknown keys are compared with its fields.
    """
    return "; ".join(_describe(problem, root) for problem in error.errors())


def _describe(problem: Any, root: type[BaseModel]) -> str:
    # pydantic marks a problem with a key itself, as of the class folder 0 without quotes
    location = [str(part) for part in problem["loc"] if part != "[key]"]
    name = ".".join(location)
    if problem["type"] == "extra_forbidden":
        from difflib import get_close_matches

        known = list(_fields_at(root, location[:-1]))
        close = get_close_matches(location[-1], known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
        return f"unknown parameter '{name}': {hint}"
    if problem["type"] == "missing":
        return f"parameter '{name}' is missing"
    return f"parameter '{name}': {_say(problem)}"


_MESSAGES = {
    "string_type": "should be text; if it is, put it in quotes",
    "model_type": "should be a block of parameters",
    "dict_type": "should be a block of parameters",
    "tuple_type": "should be a list",
}


# What a parameter with a pattern should be
_PATTERNS = {
    "device": "should be one of auto, cpu, cuda, cuda:N, mps",
    "rendezvous": "should be HOST:PORT, as in 10.0.0.5:29400",
}


def _say(problem: Any) -> str:
    message = _MESSAGES.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "string_pattern_mismatch":
        message = _PATTERNS[str(problem["loc"][-1])]
    message = message[:1].lower() + message[1:]
    value = problem["input"]
    return message if isinstance(value, dict | BaseModel) else f"{message} (it is {value!r})"


def _fields_at(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        field = model.model_fields.get(part)
        annotation = field.annotation if field else BackboneParameters
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
