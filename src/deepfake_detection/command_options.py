"""Options that the commands outside of Kedro share."""

import click
from pydantic import TypeAdapter, ValidationError

from deepfake_detection.parameters import Device


def check_device(_: click.Context, __: click.Parameter, value: str) -> str:
    """Require an option's value to be the name of a device."""
    try:
        return TypeAdapter(Device).validate_python(value)
    except ValidationError:
        raise click.BadParameter(f"'{value}' is not auto, cpu, cuda, cuda:N or mps") from None
