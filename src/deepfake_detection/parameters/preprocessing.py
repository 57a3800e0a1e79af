"""Preprocessing by backbone: block `backbones`."""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from deepfake_detection.parameters.base import Block, Count, Number, Rate

# red, green, blue
Colour = tuple[Number, Number, Number]
Spread = tuple[Rate, Rate, Rate]


class PreprocessingParameters(Block):
    """The deterministic steps between a decoded picture and a network's input."""

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
                # each value was checked before; left is how they fit together
                raise ValueError(f"{name}: {error.errors()[0]['ctx']['error']}") from None
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
