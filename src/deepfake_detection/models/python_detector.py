"""Detectors that are functions of the user's own code: `python:module:function`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_args

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.models.other_programs import FunctionDetector, Gives, Takes, make_card
from deepfake_detection.parameters.backbones import FUNCTION

_LOCATION = re.compile(rf"(?:^|/)({FUNCTION}[^/]*(?:@.*)?)$")
_TAKES: tuple[Takes, ...] = ("paths", "images")


def is_function(location: str | Path) -> bool:
    """Whether a location names a function; the catalog puts the project's folder before it."""
    return _LOCATION.search(str(location)) is not None


def split_function(location: str | Path) -> tuple[Path, str]:
    """The folder before the name of a function, and the name from `python:` on."""
    text = str(location)
    found = _LOCATION.search(text)
    at = found.start(1) if found else 0
    return Path(text[:at]), text[at:]


def load_function(location: str) -> FunctionDetector:
    """A detector of `python:module:function`; the module is imported, which runs its code.

    The function takes a list: of paths, if its first argument is called `paths`, or of RGB pictures
    (Pillow), if it is called `images`. It gives a number for each, higher for fakes. Its attribute
    `gives` tells what they are: `probability` or `logit`; without it, scores of no known scale.

    Raises:
        UserError: If there is no such module or function, or it takes or gives something else.
    """
    module_name, colon, name = location.removeprefix(FUNCTION).partition(":")
    if not (colon and module_name and name):
        raise UserError(f"{location}: a function is named as python:module:function")
    # modules that lie in the folder from which the command is given
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    # another program may raise anything
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{location}: {module_name} cannot be imported ({problem})") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{location}: {module_name} has no function {name}")
    try:
        first = next(iter(inspect.signature(function).parameters), None)
    # of some that are not written in Python
    except ValueError:
        first = None
    if first not in _TAKES:
        raise UserError(
            f"{location}: its first argument should be called {' or '.join(_TAKES)}, by what it "
            f"takes (it is {first})"
        )
    gives: Any = getattr(function, "gives", "score")
    if gives not in get_args(Gives):
        raise UserError(
            f"{location}: {name}.gives should be one of {', '.join(get_args(Gives))} (it is "
            f"{gives!r})"
        )
    source = Path(module.__file__).read_bytes() if module.__file__ else location.encode()
    card = make_card("python", location, hashlib.sha256(source).hexdigest(), gives, function=name)
    return FunctionDetector.of(card, function, first)
