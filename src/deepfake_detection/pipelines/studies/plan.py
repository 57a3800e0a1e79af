"""From the studies of the parameter files to runs with complete settings.

The settings of a row are merged over those of its recipe, of its study, and of the project. A grid
makes a row of each combination of its axes. In a cumulative study a row adds to the row before it.
Seeds and folds repeat every row.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import product
from typing import Any, TypeVar

from pydantic import ValidationError

from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import check_backbone
from deepfake_detection.parameters import (
    ProjectParameters,
    RunParameters,
    StudyOptions,
    StudyParameters,
    describe_problems,
)
from deepfake_detection.parameters.merging import merge
from deepfake_detection.parameters.recipes import settings_of

log = logging.getLogger(__name__)

# What a row, or a study for all of its rows, may set
SETTINGS = ("model", "backbones", "split", "training", "calibration")
_OF_ROW = (*SETTINGS, "recipe")
_ROW_KEYS = (*_OF_ROW, "title", "published")
_STUDY_KEYS = (*SETTINGS, *StudyOptions.model_fields, "grid")
# Namespaces of a study's splits, pixels and parameters beside those of its runs
SPLIT, PIXELS, ABOUT = "split_", "pixels_", "about"

Raw = dict[str, Any]
_Model = TypeVar("_Model", StudyOptions, RunParameters)


def plan_studies(
    parameters: Raw, without_recipe: Raw | None = None, environment: str | None = None
) -> tuple[Raw, list[StudyParameters]]:
    """Complete the block of each study that `studies` names.

    A row with a recipe of its own starts from `without_recipe`: all parameters without the
    project's recipe, if it has one. `environment` is that of --env.

    Returns:
        All parameters, where a study's block now holds `about` (as `StudyParameters`) and the
        settings of each run, split and set of pixels under its namespace; and the studies.

    Raises:
        UserError: If something does not fit; names the study, the row and the parameter.
    """
    names = {name: heading for name, heading in parameters["studies"].items() if heading}
    plain = without_recipe or parameters
    studies = [
        _plan(name, heading, parameters, plain, environment) for name, heading in names.items()
    ]
    dropped = parameters["studies"].keys() - names.keys()
    kept = {name: value for name, value in parameters.items() if name not in dropped}
    return kept | {study.name: _as_block(study) for study in studies}, studies


def _plan(
    name: str, heading: str, parameters: Raw, plain: Raw, environment: str | None
) -> StudyParameters:
    if name in ProjectParameters.model_fields or not re.fullmatch(r"[A-Za-z]\w*", name):
        raise UserError(
            f"parameter 'studies': '{name}' cannot be the name of a study: start with a letter, "
            "then use letters, digits and _, and not the name of another block of parameters"
        )
    block = parameters.get(name)
    if not isinstance(block, Mapping):
        raise UserError(f"parameter 'studies' names '{name}', but there is no block '{name}'")
    options = merge(parameters["study"], _pick(block, StudyOptions.model_fields))
    checked = _validate(StudyOptions, options, name)
    axes, rows = _list_rows(name, block)
    if not rows:
        raise UserError(f"the study '{name}' has no row: add a block with the settings to change")
    if checked.cumulative:
        if axes:
            raise UserError(f"the study '{name}' is cumulative, so it can have no grid: list rows")
        rows = _add_up(rows)
    runs = {}
    for row, content in rows.items():
        below, recipe = parameters, {}
        if "recipe" in content:
            below, recipe = plain, _find_recipe(parameters, content["recipe"], f"{name}.{row}")
        shared = merge(_pick(below, SETTINGS), _pick(block, SETTINGS), recipe)
        about = {
            "recipe": content.get("recipe", parameters["recipe"]),
            "row": row,
            "title": str(content.get("title") or row),
            "labels": content.get("labels", {}),
            "published": content.get("published"),
        }
        for run, repeat in _repeat(row, checked):
            settings = merge(shared, _pick(content, SETTINGS), repeat) | about
            runs[run] = _validate(RunParameters, settings, f"{name}.{row}")
    study = StudyParameters(
        **checked.model_dump(), name=name, heading=heading, axes=axes, runs=runs,
        environment=environment,
    )  # fmt: skip
    _warn_of_equal_rows(study)
    return study


def _add_up(rows: dict[str, Raw]) -> dict[str, Raw]:
    """Rows whose settings are merged over those of the row before."""
    settings: Raw = {}
    added = {}
    for name, content in rows.items():
        settings = merge(settings, _pick(content, _OF_ROW))
        added[name] = content | settings
    return added


def _find_recipe(parameters: Raw, recipe: Any, row: str) -> Raw:
    """What a row takes of a recipe; not what is only used outside of studies."""
    try:
        settings = settings_of(parameters["recipes"], recipe)
    except UserError as error:
        raise UserError(f"study {row}: {error}") from None
    if of_images := settings.keys() & {"data_preparation", "face_extraction"}:
        raise UserError(
            f"study {row}: the recipe '{recipe}' sets {min(of_images)}, and the images of a study "
            "are the project's"
        )
    return _pick(settings, SETTINGS)


def _pick(block: Mapping[str, Any], names: Iterable[str]) -> Raw:
    return {name: block[name] for name in names if name in block}


def _list_rows(study: str, block: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[str, Raw]]:
    """The titles on each axis of the grid, and what each row sets: first the rows of the grid."""
    grid: dict[str, dict[str, Raw]] = {}
    for axis, levels in _check_block(f"{study}.grid", block.get("grid") or {}).items():
        name = f"{study}.grid.{axis}"
        kept = {
            str(label): _check_block(f"{name}.{label}", level, (*_OF_ROW, "title"))
            for label, level in _check_block(name, levels).items()
            if level is not None
        }
        grid[axis] = {label: {"title": label} | level for label, level in kept.items()}
    axes = {axis: [str(each["title"]) for each in levels.values()] for axis, levels in grid.items()}
    rows = dict(_cross(grid)) if grid else {}
    for name, content in block.items():
        if name in _STUDY_KEYS:
            continue
        if content is None:
            rows.pop(name, None)
            continue
        _check_row(study, str(name), content)
        rows[str(name)] = merge(rows.get(str(name), {}), content)
    return axes, rows


def _cross(grid: dict[str, dict[str, Raw]]) -> Iterator[tuple[str, Raw]]:
    """A row for each combination; scikit-learn's `ParameterGrid` would sort the axes by name."""
    for combination in product(*(levels.items() for levels in grid.values())):
        titles = [str(level["title"]) for _, level in combination]
        about = {"title": ", ".join(titles), "labels": dict(zip(grid, titles, strict=True))}
        row = merge(*(level for _, level in combination), about)
        yield "_".join(label for label, _ in combination), row


def _check_row(study: str, name: str, content: Any) -> None:
    if not isinstance(content, Mapping):
        hint = _suggest(name, _STUDY_KEYS, "a row is a block of parameters")
        raise UserError(f"unknown parameter '{study}.{name}': {hint}")
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name.startswith((SPLIT, PIXELS)) or name == ABOUT:
        raise UserError(
            f"'{name}' cannot be the name of a row (study {study}): start with a letter, then use "
            f"letters, digits and _; {ABOUT}, {SPLIT}… and {PIXELS}… are taken"
        )
    _check_block(f"{study}.{name}", content, _ROW_KEYS)


def _check_block(name: str, content: Any, known: Sequence[str] = ()) -> Raw:
    if not isinstance(content, Mapping):
        raise UserError(f"parameter '{name}' should be a block of parameters (it is {content!r})")
    for key in content:
        if known and key not in known:
            hint = _suggest(str(key), known, f"known here: {', '.join(known)}")
            raise UserError(f"unknown parameter '{name}.{key}': {hint}")
    return dict(content)


def _suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean '{close[0]}'?" if close else otherwise


def _repeat(row: str, options: StudyOptions) -> Iterator[tuple[str, Raw]]:
    """The runs of a row: their names, and the settings in which they differ."""
    seeds: Sequence[int | None] = options.seeds or [None]
    folds: Sequence[int | None] = range(1, options.folds + 1) if options.folds else [None]
    for fold, seed in product(folds, seeds):
        settings: Raw = {}
        if fold is not None:
            settings["split"] = {"fold": {"number": fold, "of": options.folds}}
        if seed is not None:
            settings["training"] = {"seed": seed}
        parts = [f"fold_{fold}" if fold else "", f"seed_{seed}" if len(seeds) > 1 else ""]
        name = "_".join(filter(None, parts))
        yield (f"{row}.{name}" if name else row), settings


def _validate(model: type[_Model], content: Raw, name: str) -> _Model:
    try:
        checked: _Model = model.model_validate(content)
        if isinstance(checked, RunParameters):
            for backbone in (checked.model, *checked.backbones.names):
                check_backbone(backbone)
    except ValidationError as error:
        raise UserError(f"study {name}: {describe_problems(error, model)}") from None
    except UserError as error:
        raise UserError(f"study {name}: {error}") from None
    return checked


def _warn_of_equal_rows(study: StudyParameters) -> None:
    alike: dict[str, list[str]] = {}
    for name, run in study.runs.items():
        alike.setdefault(run.model_dump_json(include=set(SETTINGS)), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            log.warning("Study %s: equal settings in %s", study.name, " and ".join(names))


def _as_block(study: StudyParameters) -> Raw:
    """The parameters that nodes of the study find under `params:STUDY`."""
    block: Raw = {ABOUT: study.model_dump(mode="json")}
    for name, run in study.runs.items():
        settings = run.model_dump(mode="json", include=set(SETTINGS))
        # the sizes of other backbones are not settings of this run; timm's have no default
        sizes = run.preprocessing.model_dump(mode="json")
        settings["backbones"] = {"default": sizes, run.model: sizes}
        block[ABOUT]["runs"][name]["backbones"] = settings["backbones"]
        at = block
        for part in name.split("."):
            at = at.setdefault(part, {})
        at |= settings | {"name": name}
        block[SPLIT + run.split.name] = {"split": settings["split"]}
        block[name_of_pixels(run)] = {"model": run.model, "backbones": settings["backbones"]}
    return block


def name_of_pixels(run: RunParameters) -> str:
    """The namespace of a run's pixels, which runs of the same sizes share."""
    return f"{PIXELS}{run.preprocessing.resize}_{run.preprocessing.crop}"


def check_given_rows(given: Mapping[str, Any], in_files: Mapping[str, Any]) -> None:
    """Raise a `UserError` if the command line sets a row that the files lack: it is mistyped."""
    names = [name for name, heading in (in_files.get("studies") or {}).items() if heading]
    for study in names:
        block, own = in_files.get(study), given.get(study)
        if not isinstance(block, Mapping) or not isinstance(own, Mapping):
            continue
        rows = _list_rows(study, block)[1]
        for row in own:
            if row not in _STUDY_KEYS and row not in rows:
                hint = _suggest(str(row), [*rows, *_STUDY_KEYS], f"it has {', '.join(rows)}")
                raise UserError(f"the study '{study}' has no row '{row}': {hint}")


def keep_order_of_rows(parameters: Raw, in_files: Mapping[str, Any]) -> Raw:
    """Put the rows of studies into the order of their files: Kedro puts given ones first."""
    ordered = dict(parameters)
    for study in parameters["studies"]:
        block, files = parameters.get(study), in_files.get(study)
        if isinstance(block, Mapping) and isinstance(files, Mapping):
            ordered[study] = _pick(block, dict.fromkeys([*files, *block]))
    return ordered
