"""Types that the blocks of parameters are made of."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

# Pillow opens no larger picture (twice its MAX_IMAGE_PIXELS): a guard against decompression bombs
_LARGEST_PICTURE = 178_956_970


def _check_pattern(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from None
    if compiled.groups == 0:
        raise ValueError("needs a group in round brackets that catches the name, as in (.+)_\\d+")
    return pattern


def _check_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("should be one of auto, cpu, cuda, cuda:N, mps")
    return name


def _check_devices(value: Any) -> Any:
    if value != "all" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError("should be all or a number above 0")
    return value


def _check_answer(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("should be a number or text")  # noqa: TRY004  (see below)
    return value


def _refuse_booleans(value: Any) -> Any:
    # pydantic would take `true` for the number 1
    if isinstance(value, bool):
        raise ValueError("should be a number")  # noqa: TRY004  (pydantic reports ValueErrors)
    return value


def _refuse_repeats(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("names a value twice")
    return values


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
# what a submission says of a picture
Answer = Annotated[int | float | str, BeforeValidator(_check_answer)]

Number = Annotated[float, BeforeValidator(_refuse_booleans)]
Share = Annotated[Number, Field(ge=0, le=1)]
Rate = Annotated[Number, Field(gt=0)]

# of a list
Distinct = AfterValidator(_refuse_repeats)


class Block(BaseModel):
    """A block of parameters: complete, immutable, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NamingRule(Block):
    """How images or sources get the name that puts some of them together."""

    rule: str
    pattern: Pattern | None

    @model_validator(mode="after")
    def _needs_pattern(self) -> Self:
        if self.rule == "pattern" and self.pattern is None:
            raise ValueError("pattern must be given when rule is 'pattern'")
        return self
