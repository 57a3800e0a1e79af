"""The project's own part of Kedro's command line: `--params` takes lists.

Kedro splits what `--params` is given at every comma, so that `seeds=[0,1,2]` ends in an error.
"""

from __future__ import annotations

from copy import copy
from itertools import accumulate
from typing import Any

import click
import yaml
from kedro.framework.cli.project import run as _kedro_run
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

_DEPTHS = {"[": 1, "{": 1, "]": -1, "}": -1}


def split_params(ctx: click.Context, _: click.Parameter, value: Any) -> Any:
    """Parameters from what `--params` is given, as Kedro's own callback of that option.

    Args:
        ctx: Of the command.
        value: `name=value` pairs, separated by commas; a list or a mapping in brackets is one
            value. Or the parameters themselves, which a file of `--config` gives.

    Returns:
        The parameters, nested by the dots in their names.

    Raises:
        click.UsageError: If something is no `name=value`, or its value not YAML.
    """
    if not isinstance(value, str):
        return value
    parameters = OmegaConf.create()
    for item in split_outside_brackets(value):
        name, equals, written = item.partition("=")
        if not equals or not name.strip():
            ctx.fail(f"--params takes name=value pairs, separated by commas, and '{item}' is none")
        try:
            parameters.merge_with_dotlist([f"{name.strip()}={written}"])
        except (yaml.YAMLError, OmegaConfBaseException) as error:
            reason = str(error).splitlines()[0]
            ctx.fail(f"--params: '{item}' cannot be read ({reason}); quotes may be missing in it")
    return OmegaConf.to_container(parameters)


def split_outside_brackets(text: str) -> list[str]:
    """Parts of a text between commas, those commas left out that square or curly brackets enclose.

    Where brackets don't match, as in a name of a file, every comma counts.
    """
    depths = list(accumulate(_DEPTHS.get(character, 0) for character in text))
    if text and (min(depths) < 0 or depths[-1] != 0):
        depths = [0] * len(text)
    ends = [at for at, depth in enumerate(depths) if text[at] == "," and depth == 0]
    starts = [0, *(at + 1 for at in ends)]
    parts = [text[start:end] for start, end in zip(starts, [*ends, len(text)], strict=True)]
    return [part.strip() for part in parts if part.strip()]


def _with_lists(option: click.Parameter) -> click.Parameter:
    changed = copy(option)
    changed.callback = split_params
    return changed


run = copy(_kedro_run)
run.params = [_with_lists(each) if each.name == "params" else each for each in _kedro_run.params]


@click.group()
def cli() -> None:
    """Commands of this project, which take the place of Kedro's of the same name."""


cli.add_command(run)
