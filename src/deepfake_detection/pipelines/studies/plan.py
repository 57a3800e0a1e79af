"""From the studies of the parameter files to runs with complete settings.

A row is a part of the settings: what it names stands over what its study names for all rows, and
that over the project's own. A grid makes a row of each combination of its axes. Seeds and folds
repeat every row.
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

log = logging.getLogger(__name__)

# What a row, or a study for all of its rows, may set
SETTINGS = ("model", "backbones", "split", "training", "calibration")
_ROW_KEYS = (*SETTINGS, "title", "published")
_STUDY_KEYS = (*SETTINGS, *StudyOptions.model_fields, "grid")
# Namespaces of a study's splits, pixels and parameters beside those of its runs
SPLIT, PIXELS, ABOUT = "split_", "pixels_", "about"

Raw = dict[str, Any]
_Model = TypeVar("_Model", StudyOptions, RunParameters)


def plan_studies(parameters: Raw) -> tuple[Raw, list[StudyParameters]]:
    """Complete the block of each study that `studies` names.

    Args:
        parameters: All parameters, the studies' blocks among them as they stand in the files.

    Returns:
        The parameters, where a study's block now holds `about` (as `StudyParameters`), and the
        settings of each run, split and set of pixels under its namespace; and the studies.

    Raises:
        UserError: Naming the study, the row and the parameter, where something doesn't fit.
    """
    names = {name: heading for name, heading in parameters["studies"].items() if heading}
    studies = [_plan(name, heading, parameters) for name, heading in names.items()]
    blocks = {study.name: _as_block(study) for study in studies}
    dropped = parameters["studies"].keys() - names.keys()
    kept = {name: value for name, value in parameters.items() if name not in dropped}
    return kept | blocks, studies


def _plan(name: str, heading: str, parameters: Raw) -> StudyParameters:
    if name in ProjectParameters.model_fields or not re.fullmatch(r"[A-Za-z]\w*", name):
        raise UserError(
            f"parameter 'studies': '{name}' cannot be the name of a study. Take letters, digits "
            "and _, and no name of another block of parameters"
        )
    block = parameters.get(name)
    if not isinstance(block, Mapping):
        raise UserError(
            f"parameter 'studies' names '{name}', and there is no block '{name}' with its rows"
        )
    options = {key: value for key, value in block.items() if key in StudyOptions.model_fields}
    checked = _validate(StudyOptions, _merge(parameters["study"], options), name)
    shared = _merge(
        {key: parameters[key] for key in SETTINGS},
        {key: value for key, value in block.items() if key in SETTINGS},
    )
    axes, rows = _list_rows(name, block)
    runs = {
        run: _complete(f"{name}.{row}", shared, content, repeat) | {"row": row}
        for row, content in rows.items()
        for run, repeat in _repeat(row, checked)
    }
    if not runs:
        raise UserError(f"the study '{name}' has no row: add a block with what it sets otherwise")
    study = StudyParameters(
        **checked.model_dump(),
        name=name,
        heading=heading,
        axes=axes,
        runs={
            run: _validate(RunParameters, settings, f"{name}.{settings['row']}")
            for run, settings in runs.items()
        },
    )
    for run, planned in study.runs.items():
        _check_backbones(f"{name}.{run}", planned)
    _warn_of_equal_rows(study)
    return study


def _list_rows(study: str, block: Mapping[str, Any]) -> tuple[dict[str, list[str]], dict[str, Raw]]:
    """The titles on each axis of the grid, and what each row sets: the grid's, then those named."""
    grid = {
        axis: {label: level for label, level in levels.items() if level is not None}
        for axis, levels in _blocks(f"{study}.grid", block.get("grid") or {}).items()
    }
    axes: dict[str, list[str]] = {}
    for axis, levels in grid.items():
        for label, level in levels.items():
            _check_keys(f"{study}.grid.{axis}.{label}", level, (*SETTINGS, "title"))
        axes[axis] = [str(level.get("title", label)) for label, level in levels.items()]
    rows = dict(_cross(grid)) if grid else {}
    for name, content in block.items():
        if name in _STUDY_KEYS:
            continue
        if content is None:
            rows.pop(name, None)
            continue
        _check_row(study, str(name), content)
        rows[str(name)] = _merge(rows.get(str(name), {}), content)
    return axes, rows


def _blocks(name: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise UserError(f"parameter '{name}' should be a block of parameters (it is {content!r})")
    for key, value in content.items():
        if not isinstance(value, Mapping):
            raise UserError(f"parameter '{name}.{key}' should be a block (it is {value!r})")
    return dict(content)


def _cross(grid: dict[str, dict[str, Raw]]) -> Iterator[tuple[str, Raw]]:
    """A row for each combination of one level of every axis."""
    for combination in product(*(levels.items() for levels in grid.values())):
        row: Raw = {}
        for _, level in combination:
            row = _merge(row, level)
        titles = [str(level.get("title", label)) for label, level in combination]
        row |= {"title": ", ".join(titles), "labels": dict(zip(grid, titles, strict=True))}
        yield "_".join(str(label) for label, _ in combination), row


def _check_row(study: str, name: str, content: Any) -> None:
    if not isinstance(content, Mapping):
        close = get_close_matches(name, _STUDY_KEYS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "a row is a block of parameters"
        raise UserError(f"unknown parameter '{study}.{name}': {hint}")
    if not re.fullmatch(r"[A-Za-z]\w*", name) or name.startswith((SPLIT, PIXELS)) or name == ABOUT:
        raise UserError(
            f"'{name}' cannot be the name of a row (study {study}): take letters, digits and _, "
            f"beginning neither with {SPLIT} nor with {PIXELS}"
        )
    _check_keys(f"{study}.{name}", content, _ROW_KEYS)


def _check_keys(name: str, content: Any, known: Iterable[str]) -> None:
    if not isinstance(content, Mapping):
        raise UserError(f"parameter '{name}' should be a block of parameters (it is {content!r})")
    for key in content:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
            raise UserError(f"unknown parameter '{name}.{key}': {hint}")


def _repeat(row: str, options: StudyOptions) -> Iterator[tuple[str, Raw]]:
    """The runs of a row: their names, and the settings in which they differ."""
    seeds: Sequence[int | None] = options.seeds or [None]
    folds: Sequence[int | None] = range(1, options.folds + 1) if options.folds else [None]
    for fold, seed in product(folds, seeds):
        settings: Raw = {}
        parts = []
        if fold is not None:
            settings["split"] = {"fold": {"number": fold, "of": options.folds}}
            parts.append(f"fold_{fold}")
        if seed is not None:
            settings["training"] = {"seed": seed}
            parts += [f"seed_{seed}"] if len(seeds) > 1 else []
        yield (f"{row}.{'_'.join(parts)}" if parts else row), settings


def _complete(name: str, shared: Raw, row: Raw, repeat: Raw) -> Raw:
    own = {key: value for key, value in row.items() if key in SETTINGS}
    settings = _merge(_merge(shared, own), repeat)
    title = str(row.get("title") or name.rsplit(".", 1)[-1])
    about = {"title": title, "labels": row.get("labels", {}), "published": row.get("published")}
    return settings | about


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Raw:
    """`above` over `below`, block by block."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _validate(model: type[_Model], content: Raw, name: str) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(f"study {name}: {describe_problems(error, model)}") from None


def _check_backbones(name: str, run: RunParameters) -> None:
    try:
        for model in (run.model, *run.backbones.names):
            check_backbone(model)
    except UserError as error:
        raise UserError(f"study {name}: {error}") from None


def _warn_of_equal_rows(study: StudyParameters) -> None:
    seen: dict[str, str] = {}
    for name, run in study.runs.items():
        settings = run.model_dump_json(include=set(SETTINGS))
        if settings in seen:
            log.warning(
                "Study %s: %s and %s have equal settings, so the same is trained twice",
                study.name, seen[settings], name,
            )  # fmt: skip
        seen.setdefault(settings, name)


def _as_block(study: StudyParameters) -> Raw:
    """What nodes of the study find under `params:STUDY`."""
    block: Raw = {ABOUT: study.model_dump(mode="json")}
    for name, run in study.runs.items():
        settings = run.model_dump(mode="json", include=set(SETTINGS))
        # what its backbone has; the others' sizes are not this run's settings
        settings["backbones"] = {"default": run.preprocessing.model_dump(mode="json")}
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
    """Check that what the command line sets of a study is a row that its files have.

    A mistyped name would otherwise be a new row.

    Args:
        given: Parameters of the command line.
        in_files: All parameters without them.

    Raises:
        UserError: Naming the nearest row.
    """
    names = [name for name, heading in (in_files.get("studies") or {}).items() if heading]
    for study in names:
        block, own = in_files.get(study), given.get(study)
        if not isinstance(block, Mapping) or not isinstance(own, Mapping):
            continue
        rows = _list_rows(study, block)[1]
        for row in own:
            if row not in _STUDY_KEYS and row not in rows:
                close = get_close_matches(str(row), [*rows, *_STUDY_KEYS], n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(rows)}"
                raise UserError(f"the study '{study}' has no row '{row}': {hint}")


def keep_order_of_rows(parameters: Raw, in_files: Mapping[str, Any]) -> Raw:
    """Put the rows of studies back into the order of their files.

    Kedro puts what the command line names first, where an environment alone has the study.
    """
    ordered = dict(parameters)
    for study in parameters["studies"]:
        block, files = parameters.get(study), in_files.get(study)
        if isinstance(block, Mapping) and isinstance(files, Mapping):
            names = dict.fromkeys([*files, *block])
            ordered[study] = {name: block[name] for name in names if name in block}
    return ordered
