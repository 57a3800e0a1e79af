"""The block `split`: which images train, which validate, which test."""

import hashlib
import re
from typing import Annotated, Literal

from pydantic import Field

from deepfake_detection.parameters.base import (
    Block,
    Count,
    Distinct,
    Number,
    Seed,
    Share,
    Whole,
)


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


_ClassName = Annotated[str, Field(min_length=1)]


class SplitParameters(Block):
    """How the image index is divided into train, validation and test."""

    method: Literal["group", "individual", "official"]
    ratios: Ratios
    seed: Seed
    fold: Fold | None
    # class folders of fakes; checked when the images are split
    leave_out: _ClassName | Annotated[list[_ClassName], Field(min_length=1), Distinct] | None
    allow_shared_groups: bool

    def _check(self) -> None:
        if self.method == "official" and self.fold is not None:
            raise ValueError("an official split has no folds: fold is for the other methods")
        if self.leave_out is not None and self.method == "individual":
            raise ValueError("leave_out needs groups: method group or official")
        if self.leave_out is not None and self.method == "group" and self.shares.test == 0:
            raise ValueError("leave_out needs a test subset: ratios.test above 0, or a fold")

    @property
    def left_out(self) -> list[str]:
        """The class folders that neither train nor validate."""
        if self.leave_out is None:
            return []
        return [self.leave_out] if isinstance(self.leave_out, str) else self.leave_out

    @property
    def shares(self) -> Ratios:
        """Share of each subset: the ratios, or those of a fold."""
        if self.fold is None:
            return self.ratios
        part = 1 / self.fold.of
        return Ratios(train=1 - 2 * part, validation=part, test=part)

    @property
    def name(self) -> str:
        """A name made of method, percentages, seed and the class left out: `group_80_20`."""
        without = ["without", *map(_name_part, self.left_out)] if self.left_out else []
        if self.fold is not None:
            fold = f"fold_{self.fold.number}_of_{self.fold.of}_seed_{self.seed}"
            return "_".join([self.method, fold, *without])
        shared = self.method == "official" and self.allow_shared_groups
        method = f"{self.method}_shared" if shared else self.method
        shares = [self.ratios.train, self.ratios.validation]
        shares += [self.ratios.test] if self.ratios.test > 0 else []
        numbers = [f"{share * 100:.6g}".replace(".", "p") for share in shares]
        seed = [f"seed_{self.seed}"] if self.seed else []
        return "_".join([method, *numbers, *seed, *without])


def _name_part(text: str) -> str:
    """The text as part of a name: letters, digits and _; unlike texts have unlike names."""
    name = re.sub(r"\W", "_", text, flags=re.ASCII)
    return name if name == text else f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:6]}"
