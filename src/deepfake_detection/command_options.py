"""Options that the commands outside of Kedro share."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import click
from pydantic import TypeAdapter, ValidationError

from deepfake_detection.parameters import Device


class FaceOptions(NamedTuple):
    """How faces are found, where it is not as the detector says; at most one is set."""

    given: bool = False
    margin: float | None = None
    yunet: Path | None = None


def check_device(_: click.Context, __: click.Parameter, value: str) -> str:
    """Require an option's value to be the name of a device."""
    try:
        return TypeAdapter(Device).validate_python(value)
    except ValidationError:
        raise click.BadParameter(f"'{value}' is not auto, cpu, cuda, cuda:N or mps") from None


def face_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --given, --margin and --yunet, which say how faces are found; `choose_faces` reads them.

    The command's function gets `face_options`, a `FaceOptions`.
    """

    @click.option("--given", is_flag=True, help="Pictures and frames are crops of one face.")
    @click.option(
        "--margin", type=click.FloatRange(0.5, 5),
        help="Cut faces with this margin, if the detector does not know how its crops were cut.",
    )  # fmt: skip
    @click.option(
        "--yunet", type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="YuNet's weights, for a detector that was trained on the faces that it found.",
    )  # fmt: skip
    @wraps(command)
    def with_faces(
        *arguments: Any, given: bool, margin: float | None, yunet: Path | None, **options: Any
    ) -> Any:
        if given + (margin is not None) + (yunet is not None) > 1:
            raise click.UsageError("--given, --margin and --yunet exclude each other")
        return command(*arguments, face_options=FaceOptions(given, margin, yunet), **options)

    return with_faces
