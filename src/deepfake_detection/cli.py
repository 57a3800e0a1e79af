"""Kedro's `kedro run`, with lists in `--params`, and mistyped names in one line."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

import click
import yaml
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from deepfake_detection.errors import UserError, first_line, suggest


def split_params(ctx: click.Context, _: click.Parameter, value: Any) -> Any:
    """Read `name=value` pairs, separated by commas, where a list in brackets is one value.

    Kedro's own callback splits lists too. A file of `--config` gives a dictionary, which is kept.
    """
    if not isinstance(value, str):
        return value
    parameters = OmegaConf.create()
    for item in split_outside_brackets(value):
        name, equals, written = item.partition("=")
        if not equals or not name.strip():
            ctx.fail(f"--params takes name=value pairs, separated by commas, not '{item}'")
        try:
            parameters.merge_with_dotlist([f"{name.strip()}={written}"])
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            ctx.fail(f"--params: '{item}' cannot be read ({first_line(error)}); try quotes")
    return OmegaConf.to_container(parameters)


def split_outside_brackets(text: str) -> list[str]:
    """Split at commas outside of brackets; at all commas where brackets don't match (a path)."""
    parts: list[str] = []
    for piece in text.split(","):
        if parts and _count_open(text) == 0 and _count_open(parts[-1]) > 0:
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return [part.strip() for part in parts if part.strip()]


def _count_open(text: str) -> int:
    return sum((character in "[{") - (character in "]}") for character in text)


def check_selection(given: Mapping[str, Any]) -> None:
    """Check that the options of `kedro run`, by their arguments' names, select some nodes."""
    names = [given["pipeline"]] if given["pipeline"] else given["pipelines"] or ["__default__"]
    _check_names("pipelines", names, pipelines)
    chosen = sum((pipelines[name] for name in names), Pipeline([]))
    nodes = {node.name for node in chosen.nodes}
    known: dict[str, Iterable[str]] = {
        **dict.fromkeys(("node_names", "from_nodes", "to_nodes"), nodes),
        **dict.fromkeys(("from_inputs", "to_outputs"), chosen.datasets()),
        "tags": {tag for node in chosen.nodes for tag in node.tags},
        "namespaces": {name for node in chosen.nodes for name in node.namespace_prefixes},
    }
    for option, there in known.items():
        _check_names(option.replace("node_names", "nodes").replace("_", "-"), given[option], there)
    selection = {option: given[option] for option in known}
    selection["node_namespaces"] = selection.pop("namespaces")
    try:
        chosen.filter(**selection)
    except ValueError as error:
        raise UserError(first_line(error)) from None


def _check_names(option: str, names: Iterable[str], known: Iterable[str]) -> None:
    for name in names:
        if name not in known:
            raise UserError(f"--{option}: there is no '{name}': {suggest(name, sorted(known))}")


def _run(**given: Any) -> Any:
    assert kedro_run.callback is not None  # noqa: S101  (every decorated command has one)
    try:
        return kedro_run.callback(**given)
    except ValueError:
        check_selection(given)
        raise


_options = [copy(option) for option in kedro_run.params]
for _option in _options:
    if _option.name == "params":
        _option.callback = split_params
run = click.Command(kedro_run.name, callback=_run, params=_options, help=kedro_run.help)


@click.group(commands=[run])
def cli() -> None:
    """Commands of this project, which take the place of Kedro's of the same name."""
