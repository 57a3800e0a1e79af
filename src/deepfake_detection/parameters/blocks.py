"""The blocks of `conf/base/parameters*.yml`, except backbones, faces, scores and studies."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

# ruff: noqa: I001
# fmt: off
from deepfake_detection.parameters.base import (
    Answer, Block, Count, Device, Devices, Distinct, Label, Number, Pattern, Pixels, Precision,
    Rate, Seed, Share, Whole, require,
)
# fmt: on


class NamingRule(Block):
    """How images or sources get the name that puts some of them together."""

    rule: str
    pattern: Pattern | None

    def _check(self) -> None:
        if self.rule == "pattern" and self.pattern is None:
            raise ValueError("pattern must be given when rule is 'pattern'")


class SourceRule(NamingRule):
    """Which images of one class were cut from the same source."""

    rule: Literal["consecutive", "pattern", "image"]
    size: Count


class GroupRule(NamingRule):
    """Which sources form a group, which a grouped split keeps in one subset."""

    rule: Literal["source", "same_number", "pattern"]


class LayoutOptions(Block):
    """What the layouts of data sets need to know, beside the folder."""

    compression: Literal["raw", "c23", "c40"] | None
    lists: Annotated[str, Field(min_length=1)] | None
    table: Annotated[str, Field(min_length=1)] | None
    folder_names: dict[str, Literal["train", "validation", "test", "real", "fake"]]
    leave_out: Annotated[list[str], Distinct]
    official_subset: Literal["train", "validation", "test"] | None


class ImageSetParameters(Block):
    """How a folder of labelled images is read: `data_preparation`, `external_evaluation`."""

    images: Literal["folder", "faces"]
    # a name of images.layouts.LAYOUTS, or auto; checked when the folder is read
    layout: Annotated[str, Field(min_length=1)]
    layout_options: LayoutOptions
    classes: dict[str, Label | None]
    source: SourceRule
    group: GroupRule
    max_rejected_share: Share
    max_pixels: Pixels
    crop_recipe: Literal["face_extraction"] | None
    note: str | None

    def _check(self) -> None:
        for label in ("real", "fake"):
            if label not in self.classes.values():
                raise ValueError(f"no class folder has the label '{label}' in classes")
        for name in self.classes:
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise ValueError(f"class folder '{name}' is not a path inside the image folder")
            if any(name.startswith(f"{other}/") for other in self.classes):
                raise ValueError(f"class folder '{name}' lies inside another class folder")


class Ratios(Block):
    """Share of each class that goes to each subset; they sum to 1."""

    train: Annotated[Number, Field(gt=0, le=1)]
    validation: Share
    test: Share

    def _check(self) -> None:
        total = self.train + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train, validation and test sum to {total:g}, not to 1")


class Fold(Block):
    """The fold of a cross-validation that is scored: `number` (from 1) of `of`."""

    number: Count
    # one fold is scored, one chooses the epoch, the others train
    of: Annotated[Whole, Field(ge=3)]

    def _check(self) -> None:
        if self.number > self.of:
            raise ValueError(f"there is no fold {self.number} of {self.of}")


class SplitParameters(Block):
    """How the image index is divided into train, validation and test."""

    method: Literal["group", "individual", "official"]
    ratios: Ratios
    seed: Seed
    fold: Fold | None
    allow_shared_groups: bool

    def _check(self) -> None:
        if self.method == "official" and self.fold is not None:
            raise ValueError("an official split has no folds: fold is for the other methods")

    @property
    def shares(self) -> Ratios:
        """Share of each subset: the ratios, or those of a fold."""
        if self.fold is None:
            return self.ratios
        part = 1 / self.fold.of
        return Ratios(train=1 - 2 * part, validation=part, test=part)

    @property
    def name(self) -> str:
        """A name made of method, percentages and seed: `group_80_20`."""
        if self.fold is not None:
            return f"{self.method}_fold_{self.fold.number}_of_{self.fold.of}_seed_{self.seed}"
        shared = self.method == "official" and self.allow_shared_groups
        method = f"{self.method}_shared" if shared else self.method
        shares = [self.ratios.train, self.ratios.validation]
        shares += [self.ratios.test] if self.ratios.test > 0 else []
        numbers = [f"{share * 100:.6g}".replace(".", "p") for share in shares]
        return "_".join([method, *numbers, *([f"seed_{self.seed}"] if self.seed else [])])


class LeakageParameters(Block):
    """Which pictures of different subsets are near-duplicates: block `leakage`."""

    hash_distance: Annotated[Whole, Field(ge=0, le=16)]
    correlation: Annotated[Number, Field(gt=0, le=1)]
    # the sums behind a correlation are exact up to this size
    thumbnail: Annotated[Whole, Field(ge=8, le=256)]
    least_contrast: Annotated[Number, Field(ge=0, le=0.5)]
    most_candidates: Count
    gallery_pairs: Count
    gallery_columns: Count


_Beta = Annotated[Number, Field(ge=0, lt=1)]


class OptimizerParameters(Block):
    """Adam with two parameter groups: head and backbone."""

    name: Literal["adam"]
    lr: Rate
    head_lr_multiple: Rate
    betas: tuple[_Beta, _Beta]
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
    """When training ends before its last epoch; without patience, never."""

    patience: Count | None


class CheckpointParameters(Block):
    """How often training is saved, and whether it resumes."""

    minutes: Annotated[Number, Field(ge=0)]
    resume: bool


class TrainingParameters(Block):
    """One training: block `training`."""

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
    precision: Precision
    compile: bool
    seed: Seed
    checkpoint: CheckpointParameters


class FinalTrainingParameters(Block):
    """Training on all labelled images: block `final_training`."""

    epochs: Count | None


# what logs, tables and pages show as it is, in one line
Line = Annotated[
    str,
    Field(min_length=1, max_length=200),
    AfterValidator(require(str.isprintable, "should be printable")),
]


class ImportParameters(Block):
    """What is told of a published checkpoint: block `import_checkpoint`."""

    source: Line | None
    class_order: tuple[Label, Label]
    fakes: Annotated[list[Line], Field(min_length=1), Distinct]
    crops: Literal["unknown", "face_extraction"]
    transform_input: bool

    def _check(self) -> None:
        if self.class_order[0] == self.class_order[1]:
            raise ValueError("class_order should name real and fake")
        if "real" in self.fakes:
            raise ValueError("fakes should not name real")


class ExternalCalibrationParameters(Block):
    """Which part of a set from elsewhere calibrates: block `external_calibration`."""

    share: Annotated[Number, Field(gt=0, lt=1)]
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

    def _check(self) -> None:
        if self.left >= self.right or self.top >= self.bottom:
            raise ValueError("left should be less than right, and top less than bottom")


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


class SubmissionParameters(Block):
    """The file of answers that a competition or a course takes."""

    name_column: Annotated[str, Field(min_length=1)]
    value_column: Annotated[str, Field(min_length=1)]
    name: Literal["path", "name", "stem"]
    real: Answer
    fake: Answer
    unreadable: Answer

    def _check(self) -> None:
        if self.name_column == self.value_column:
            raise ValueError("name_column and value_column should differ")
        if self.real == self.fake:
            raise ValueError("real and fake should differ")


class InferenceParameters(Block):
    """How pictures and videos without labels are scored: block `inference`."""

    batch_size: Count
    device: Device
    precision: Precision
    flip: bool
    max_pixels: Pixels
    faces: Literal["detector", "find", "given"]
    frames_per_video: Count
    every_seconds: Annotated[Number, Field(gt=0)] | None
    source: SourceRule | None
    submission: SubmissionParameters


class ExportParameters(Block):
    """How a detector is exported to ONNX, and how the result is checked: block `export`."""

    # PyTorch's exporter writes version 18, and converts it to later ones
    opset: Annotated[Whole, Field(ge=18)] | None
    check_images: Count
    tolerance: Annotated[Number, Field(gt=0, lt=1)]
    seed: Seed
