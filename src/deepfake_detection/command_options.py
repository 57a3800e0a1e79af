"""Values on a command line, checked as the parameters of the same kind are."""

from collections.abc import Callable
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError


def as_parameter(kind: Any) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback of a click option that checks what is given.

    Args:
        kind: One of the annotated kinds of `parameters.py`, such as `Device`.

    Returns:
        Gives the value back as one of that kind, or raises `click.BadParameter`.
    """

    def check(_: click.Context, __: click.Parameter, value: Any) -> Any:
        try:
            return TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise click.BadParameter(f"{error.errors()[0]['msg']} (it is '{value}')") from None

    return check
