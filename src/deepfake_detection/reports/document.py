"""One self-contained HTML document: no other file, no network, no script but its own."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

import pandas as pd
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from deepfake_detection.reports.settings import setting_in_words
from deepfake_detection.reports.style import COLOURS
from deepfake_detection.reports.words import (
    counted,
    percent,
    printable,
    probability,
    shortened,
    unbroken,
)

_PACKAGE = "deepfake_detection.reports"
_PATH_LENGTH = 90


def render_document(
    package: str, template: str, contents: Mapping[str, Any], script: str | None = None
) -> str:
    """Render a template of a package as an HTML document.

    The template extends `page.html.j2` (the style, and a policy that forbids the page to load
    anything and to run any script but the one given here) or `document.html.j2` (the same with
    the header of a report). All contents are escaped.

    Args:
        package: The package in whose folder `templates` the template lies.
        template: Its file name.
        contents: The template's variables. `document.html.j2` itself takes eyebrow, heading, notes,
            verdict (a list of sentences), cards, statements, and sections ({id: title}).
        script: File name of a script beside the template.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_PACKAGE)]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters |= {
        "probability": probability,
        "shortened": lambda text: shortened(printable(text), _PATH_LENGTH),
        "counted": counted,
        "words": setting_in_words,
        "percent": percent,
        "number": lambda value, form: "\N{EN DASH}" if pd.isna(value) else format(value, form),
        "unbroken": lambda text: _Printable(unbroken(printable(text))),
    }
    source = _read_script(environment, script) if script else ""
    return environment.get_template(template).render(
        colours=COLOURS, script=source, script_hash=_hash(source), **contents
    )


def _read_script(environment: Environment, name: str) -> str:
    # unrendered: a script may hold what Jinja takes for its own syntax
    assert environment.loader is not None  # noqa: S101  (for the type checker)
    return environment.loader.get_source(environment, name)[0]


def _hash(script: str) -> str:
    """The script's hash, as a Content-Security-Policy takes it."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


class _Printable(str):
    """A text that has been made printable; it is still escaped."""

    __slots__ = ()


def _finalize(value: object) -> object:
    # Markup comes from the templates; any other string may come from outside
    return printable(value) if type(value) is str else value
