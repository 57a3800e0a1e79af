"""Image folders, the split, near-duplicates: `data_preparation`, `split`, `leakage`."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from deepfake_detection.parameters.base import (
    Block,
    Count,
    Label,
    NamingRule,
    Number,
    Pixels,
    Seed,
    Share,
    Whole,
)


class SourceRule(NamingRule):
    """Which images of one class were cut from the same source."""

    rule: Literal["consecutive", "pattern", "image"]
    size: Count


class GroupRule(NamingRule):
    """Which sources form a group, which a grouped split keeps in one subset."""

    rule: Literal["source", "same_number", "pattern"]


class ImageSetParameters(Block):
    """How a folder of labelled images is read: `data_preparation`, `external_evaluation`."""

    classes: dict[str, Label | None]
    source: SourceRule
    group: GroupRule
    max_rejected_share: Share
    max_pixels: Pixels
    note: str | None

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        for label in ("real", "fake"):
            if label not in self.classes.values():
                raise ValueError(f"no class folder has the label '{label}' in classes")
        for name in self.classes:
            if any(part in ("", ".", "..") for part in name.split("/")):
                raise ValueError(f"class folder '{name}' is not a path inside the image folder")
            if any(name.startswith(f"{other}/") for other in self.classes):
                raise ValueError(f"class folder '{name}' lies inside another class folder")
        return self


class Ratios(Block):
    """Share of each class that goes to each subset; they sum to 1."""

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
    """The fold of a cross-validation that is scored: `number` (from 1) of `of`."""

    number: Count
    # one fold is scored, one chooses the epoch, the others train
    of: Annotated[Whole, Field(ge=3)]

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.number > self.of:
            raise ValueError(f"there is no fold {self.number} of {self.of}")
        return self


class SplitParameters(Block):
    """How the image index is divided into train, validation and test."""

    method: Literal["group", "individual"]
    ratios: Ratios
    seed: Seed
    fold: Fold | None

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
        shares = [self.ratios.train, self.ratios.validation]
        shares += [self.ratios.test] if self.ratios.test > 0 else []
        numbers = [f"{share * 100:.6g}".replace(".", "p") for share in shares]
        return "_".join([self.method, *numbers, *([f"seed_{self.seed}"] if self.seed else [])])


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
