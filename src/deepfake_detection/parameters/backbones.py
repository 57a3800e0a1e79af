"""Preprocessing by backbone, and the names of timm's networks."""

from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from math import floor
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from deepfake_detection.errors import UserError
from deepfake_detection.parameters.base import LARGEST_SIDE, Block, Number, Rate, Side

# Before the names of timm's networks, in the parameter `model`
TIMM = "timm/"

# Before the names of functions that are detectors: python:module:function
FUNCTION = "python:"

# red, green, blue
Colour = tuple[Number, Number, Number]
Spread = tuple[Rate, Rate, Rate]


class PreprocessingParameters(Block):
    """The deterministic steps between a decoded picture and a network's input."""

    resize: Side
    crop: Side
    mean: Colour
    std: Spread

    def _check(self) -> None:
        if self.crop > self.resize:
            raise ValueError(f"crop ({self.crop}) is larger than resize ({self.resize})")


class BackboneParameters(Block):
    """Preprocessing of one backbone; see `Backbones.preprocessing` for what is left out."""

    resize: Side | None = None
    crop: Side | None = None
    mean: Colour | None = None
    std: Spread | None = None


class Backbones(BaseModel):
    """Preprocessing by backbone: `default`, and entries by the names that `model` takes."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, BackboneParameters]

    default: PreprocessingParameters

    @model_validator(mode="after")
    def _merge(self) -> Self:
        for name in self.names:
            try:
                self.preprocessing(name)
            except ValidationError as error:
                # each value was checked before; left is how they fit together
                raise ValueError(f"{name}: {error.errors()[0]['ctx']['error']}") from None
        return self

    @property
    def names(self) -> list[str]:
        """Backbones that have an entry of their own."""
        return list(self.__pydantic_extra__)

    def preprocessing(self, model: str) -> PreprocessingParameters:
        """Preprocessing of the backbone `model`: its own values over the default's.

        For a network of timm, timm's values are the defaults, and an entry without a tag (`timm/X`)
        holds for all its tags (`timm/X.TAG`). A UserError says that timm is missing or lacks it.
        """
        own: dict[str, Any] = {}
        for name in (untagged(model), model):
            entry = self.__pydantic_extra__.get(name, BackboneParameters())
            own |= entry.model_dump(exclude_none=True)
        default = (
            _timm_preprocessing(model, own.get("crop"))
            if model.startswith(TIMM)
            else self.default.model_dump()
        )
        return PreprocessingParameters.model_validate(default | own)


def untagged(model: str) -> str:
    """The backbone's name without the tag of its published weights, which only timm's have."""
    return model.split(".", 1)[0] if model.startswith(TIMM) else model


@cache
def _list_timm() -> frozenset[str]:
    import timm

    return frozenset((*timm.list_models(), *timm.list_models(include_tags=True)))


def name_in_timm(model: str) -> str:
    """What timm calls the backbone `timm/NAME`.

    A UserError says that timm is not installed or has no such network.
    """
    if find_spec("timm") is None:
        raise UserError(
            f"model '{model}' needs timm, which is not installed: "
            'pip install "deepfake-detection[timm]"'
        )
    name = model.removeprefix(TIMM)
    # create_model would also take addresses of networks elsewhere
    if name not in _list_timm():
        close = get_close_matches(name.lower(), _list_timm(), n=3, cutoff=0.5)
        hint = (
            f"did you mean {' or '.join(TIMM + each for each in close)}?"
            if close
            else "timm.list_models() names all."
        )
        raise UserError(f"unknown model '{model}': timm has no such network; {hint}")
    return name


def _timm_preprocessing(model: str, crop: int | None) -> dict[str, Any]:
    """The values of timm for a network; `resize` follows from the crop, which may be another."""
    name = name_in_timm(model)
    import timm
    from timm.data import resolve_data_config

    published = timm.get_pretrained_cfg(name)
    config = resolve_data_config({}, published.to_dict() if published else {"in_chans": 3})
    crop = crop or min(config["input_size"][1:])
    resize = min(floor(crop / config["crop_pct"]), LARGEST_SIDE)
    return {"resize": resize, "crop": crop, "mean": config["mean"], "std": config["std"]}
