"""One self-contained HTML document: no other file, no network, no script but its own."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from deepfake_detection.reports.parts import Statement
from deepfake_detection.reports.settings import setting_in_words
from deepfake_detection.reports.style import COLOURS
from deepfake_detection.reports.words import (
    counted,
    listed,
    percent,
    printable,
    probability,
    rounded_percent,
    shortened,
    unbroken,
)

_PACKAGE = "deepfake_detection.reports"
_PATH_LENGTH = 90


def render_document(package: str, template: str, contents: Mapping[str, Any], *scripts: str) -> str:
    """Render a template of a package as an HTML document.

    The template extends `page.html.j2` (the style, and a policy that forbids the page to load
    anything and to run any script but those given here) or `document.html.j2` (the same with
    the header of a report). Template and scripts are file names in the package's folder
    `templates`. All contents are escaped; `document.html.j2` itself takes eyebrow, heading, notes,
    verdict (a list of sentences), cards, statements, and sections ({id: title}).
    """
    environment = _environment(package, escape=True)
    assert environment.loader is not None  # noqa: S101  (for the type checker)
    # unrendered: a script may hold what Jinja takes for its own syntax
    loader = environment.loader
    source = "\n".join(loader.get_source(environment, script)[0] for script in scripts)
    digest = base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
    return environment.get_template(template).render(
        colours=COLOURS, script=source, script_hash=f"sha256-{digest}", **contents
    )


def render_statement(
    package: str,
    template: str,
    name: str,
    facts: Mapping[str, Any],
    tone: Literal["warning", "plain"] = "plain",
    section: str = "trust",
) -> Statement:
    """Fill the macro `name` of a package's template; its first line is the statement's heading."""
    macros = _environment(package, escape=False).get_template(template).module
    heading, text = getattr(macros, name)(facts).strip().split("\n", 1)
    return Statement(tone, heading, " ".join(text.split()), section)


def _environment(package: str, *, escape: bool) -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_PACKAGE)]),
        autoescape=escape,  # noqa: S701  (statements are escaped in their page)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup comes from the templates; any other string may come from outside. What a macro
        # returns is a plain string where nothing is escaped.
        finalize=lambda value: printable(value) if escape and type(value) is str else value,
    )
    environment.filters |= {
        "probability": probability,
        "shortened": lambda text: shortened(printable(text), _PATH_LENGTH),
        "counted": counted,
        "words": setting_in_words,
        "percent": percent,
        "rounded_percent": rounded_percent,
        "listed": listed,
        "number": lambda value, form: "\N{EN DASH}" if pd.isna(value) else format(value, form),
        "unbroken": lambda text: _Printable(unbroken(printable(text))),
    }
    return environment


class _Printable(str):
    """A text that has been made printable; it is still escaped."""

    __slots__ = ()
