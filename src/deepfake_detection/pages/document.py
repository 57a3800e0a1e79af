"""A page: one HTML document that needs no other file, no network and no script."""

from collections.abc import Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from deepfake_detection.pages.settings import setting_in_words
from deepfake_detection.plotting.style import COLOURS
from deepfake_detection.plotting.words import (
    counted,
    printable,
    probability,
    shortened,
    unbroken,
)

_PACKAGE = "deepfake_detection.pages"
_PATH_LENGTH = 90


def render_document(package: str, template: str, contents: Mapping[str, Any]) -> str:
    """A template of a package, filled.

    The template extends `page.html.j2`, which holds the style, and forbids the page to run or to
    load anything. All contents are escaped.

    Args:
        package: Name of the package in whose folder `templates` the template lies.
        template: Its file name.
        contents: What it shows.
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
        "unbroken": lambda text: _Printable(unbroken(printable(text))),
    }
    return environment.get_template(template).render(colours=COLOURS, **contents)


class _Printable(str):
    """A text that has been made printable; it is still escaped."""

    __slots__ = ()


def _finalize(value: object) -> object:
    # Markup is the template's own; everything else may come from outside
    return printable(value) if type(value) is str else value
