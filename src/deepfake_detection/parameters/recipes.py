"""Recipes: named sets of parameters, merged over the base files and below everything else."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from deepfake_detection.errors import UserError, suggest
from deepfake_detection.parameters.merging import Raw, merge
from deepfake_detection.parameters.project import ProjectParameters, describe_problems

# What a recipe may set; of these a row of a study takes its own SETTINGS
BLOCKS = (
    "backbones", "data_preparation", "face_extraction", "split", "training", "final_training",
    "calibration", "inference",
)  # fmt: skip
_FOR = "for"
_ANY = "any"
# Families of backbones, told by the beginning of their names, with or without `timm/`. All others
# count as convolutional, also most of those that have both kinds of layer
_TRANSFORMERS = (
    "aimv2", "beit", "cait_", "coat_", "convit", "crossvit", "davit", "deepseek_vit", "deit", "eva",
    "flexivit", "gcvit", "gemma4_vit", "hiera", "levit", "maxvit", "maxxvit", "mvitv2", "naflexvit",
    "nest_", "pit_", "pvt_", "qwen3_vit", "samvit", "swin", "test_vit", "tiny_vit", "tnt_",
    "twins_", "visformer", "vit_", "vitamin", "volo", "xcit",
)  # fmt: skip
_FAMILIES = ("convolutional", "transformer")


def settings_of(recipes: Mapping[str, Any], name: Any) -> Raw:
    """What the recipe `name` sets; `recipes` is the block of this name.

    Raises:
        UserError: If there is no such recipe, or its keys are not known.
    """
    recipe = _find(recipes, name)
    for key in recipe:
        if key not in (*BLOCKS, _FOR):
            hint = suggest(str(key), (*BLOCKS, _FOR))
            raise UserError(f"unknown parameter 'recipes.{name}.{key}': {hint}")
    made_for = _made_for(recipe)
    if not made_for or not all(isinstance(each, str) for each in made_for):
        raise UserError(
            f"parameter 'recipes.{name}.for' should be {_ANY}, {', '.join(_FAMILIES)}, or a list "
            f"of these and of patterns of names (it is {recipe[_FOR]!r})"
        )
    return {key: value for key, value in recipe.items() if key != _FOR}


def _find(recipes: Mapping[str, Any], name: Any) -> Mapping[str, Any]:
    recipe = recipes.get(name) if isinstance(name, str) else None
    if recipe is None:
        there = [str(each) for each, content in recipes.items() if content is not None]
        raise UserError(f"there is no recipe '{name}': {suggest(str(name), there)}")
    if not isinstance(recipe, Mapping):
        raise UserError(f"parameter 'recipes.{name}' should be a block of parameters")
    return recipe


def _made_for(recipe: Mapping[str, Any]) -> list[Any]:
    made_for = recipe.get(_FOR, _ANY)
    return made_for if isinstance(made_for, list) else [made_for]


def check_fit(recipes: Mapping[str, Any], name: str, model: str) -> None:
    """Raise a UserError if the recipe `name` is not for the backbone `model`."""
    made_for = _made_for(_find(recipes, name))
    if not any(_fits(each, model) for each in made_for):
        raise UserError(
            f"the recipe '{name}' is for {', '.join(made_for)}, and model is '{model}': choose "
            "another recipe or another model (docs/recipes.md)"
        )


def _fits(made_for: str, model: str) -> bool:
    if made_for in _FAMILIES:
        is_transformer = model.removeprefix("timm/").startswith(_TRANSFORMERS)
        return made_for == _FAMILIES[is_transformer]
    return made_for == _ANY or fnmatchcase(model, made_for)


def check_recipes(recipes: Mapping[str, Any], base: Mapping[str, Any]) -> None:
    """Check each recipe, merged over the parameters of the base files.

    Raises:
        UserError: If one is not valid; it names the recipe and the parameter.
    """
    own = {name: base[name] for name in ProjectParameters.model_fields if name in base}
    if _problems_of(own):
        # they are named once all files are merged
        return
    for name in [str(name) for name, recipe in recipes.items() if recipe is not None]:
        if problems := _problems_of(merge(own, settings_of(recipes, name))):
            raise UserError(f"recipe '{name}': {problems}")


def _problems_of(parameters: Raw) -> str:
    try:
        ProjectParameters.model_validate(parameters)
    except ValidationError as error:
        return describe_problems(error, ProjectParameters)
    return ""


def list_overridden(settings: Mapping[str, Any], used: Any, above: str = "") -> Iterator[str]:
    """The settings of a recipe that were set otherwise: `training.epochs 4 (30)`."""
    for key, value in settings.items():
        now = used.get(key) if isinstance(used, Mapping) else None
        if isinstance(value, Mapping):
            yield from list_overridden(value, now, f"{above}{key}.")
        elif now != value:
            yield f"{above}{key} {now} ({value})"
