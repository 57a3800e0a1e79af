"""The blocks of `conf/base/parameters*.yml`, except backbones, faces, scores and studies."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

# ruff: noqa: I001
# fmt: off
from deepfake_detection.parameters.base import (
    Answer, Block, Count, Device, Distinct, Label, Number, Pattern, Pixels, Precision,
    Seed, Share, Whole, require,
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


class EqualiseParameters(Block):
    """How all pictures are made alike in size and encoding: `data_preparation.equalise`."""

    side: Annotated[Whole, Field(ge=16, le=4096)]
    cut: Annotated[Number, Field(ge=0, lt=0.5)]
    quality: Annotated[Whole, Field(ge=1, le=95)]


class ShortcutParameters(Block):
    """The audit of what has nothing to do with faces: block `shortcuts`."""

    most_images: Count
    folds: Annotated[Whole, Field(ge=2)]
    seed: Annotated[Seed, Field(lt=2**32)]
    confidence: Annotated[Number, Field(gt=0, lt=1)]
    warn_above: Annotated[Number, Field(ge=0.5, lt=1)]
    equalise: EqualiseParameters


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
    equalise: EqualiseParameters | None
    note: str | None

    def _check(self) -> None:
        if self.images == "faces" and self.equalise and self.equalise.cut:
            raise ValueError(
                "equalise.cut is for folders: face_extraction.crop.margin sets how faces are cut"
            )
        for label in ("real", "fake"):
            if label not in self.classes.values():
                raise ValueError(f"no class folder has the label '{label}' in classes")
        for name in self.classes:
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise ValueError(f"class folder '{name}' is not a path inside the image folder")
            if any(name.startswith(f"{other}/") for other in self.classes):
                raise ValueError(f"class folder '{name}' lies inside another class folder")


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
    flip: bool | None
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
