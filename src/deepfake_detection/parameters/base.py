"""Types that the blocks of parameters are made of."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

# Pillow opens no larger picture (twice its MAX_IMAGE_PIXELS): a guard against decompression bombs
_LARGEST_PICTURE = 178_956_970


def require(holds: Callable[[Any], Any], message: str) -> Callable[[Any], Any]:
    """A check of one value, for pydantic, which reports ValueErrors."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(message)
        return value

    return check


def _check_pattern(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    if compiled.groups == 0:
        raise ValueError("needs a group in round brackets that matches the name, as in (.+)_\\d+")
    return pattern


_check_device = require(
    re.compile(r"auto|cpu|mps|cuda(:\d+)?").fullmatch,
    "should be one of auto, cpu, cuda, cuda:N, mps",
)
_check_devices = require(
    lambda value: value == "all" or (type(value) is int and value > 0),
    "should be all or a number above 0",
)
_check_answer = require(
    lambda value: type(value) in (int, float, str), "should be a number or text"
)
# pydantic would take `true` for the number 1
_refuse_booleans = require(lambda value: not isinstance(value, bool), "should be a number")

Label = Literal["real", "fake"]
Precision = Literal["auto", "fp32", "bf16"]
Pattern = Annotated[str, AfterValidator(_check_pattern)]
Device = Annotated[str, AfterValidator(_check_device)]

Whole = Annotated[int, BeforeValidator(_refuse_booleans)]
Count = Annotated[Whole, Field(gt=0)]
Pixels = Annotated[Whole, Field(gt=0, le=_LARGEST_PICTURE)]
Seed = Annotated[Whole, Field(ge=0, lt=2**63)]
# all GPUs of this machine, or so many; checked first, as pydantic names each part of a union
Devices = Annotated[Literal["all"] | int, BeforeValidator(_check_devices)]
LARGEST_SIDE = 1024
# of a network's input in pixels; a batch of 64 of the largest takes 805 MB
Side = Annotated[Whole, Field(gt=0, le=LARGEST_SIDE)]
# what a submission says of a picture
Answer = Annotated[int | float | str, BeforeValidator(_check_answer)]

Number = Annotated[float, BeforeValidator(_refuse_booleans)]
Share = Annotated[Number, Field(ge=0, le=1)]
Rate = Annotated[Number, Field(gt=0)]

# of a list
Distinct = AfterValidator(
    require(lambda values: len(set(values)) == len(values), "names a value twice")
)


class Block(BaseModel):
    """A block of parameters: complete, immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        self._check()
        return self

    def _check(self) -> None:
        """Raise a ValueError if valid values do not fit together."""
