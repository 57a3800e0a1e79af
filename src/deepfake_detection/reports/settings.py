"""Settings, written for a reader."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from deepfake_detection.reports.words import printable


def flatten_settings(settings: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """All settings as dotted names with their values in words, by their first part.

    Settings outside any block come first, under the empty name.

    >>> flatten_settings({"model": "vgg16", "training": {"optimizer": {"betas": [0.9, 0.999]}}})
    {'': [('model', 'vgg16')], 'training': [('optimizer.betas', '0.9, 0.999')]}
    """
    blocks: dict[str, list[tuple[str, str]]] = {"": []}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            blocks[str(name)] = list(_flatten(value))
        else:
            blocks[""].append((str(name), setting_in_words(value)))
    return {name: block for name, block in blocks.items() if block}


def _flatten(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", setting_in_words(value)


def setting_in_words(value: object) -> str:
    """A setting as a parameter file would hold it: `none`, `true`, `0.9, 0.999`."""
    # a table holds NaN in place of nothing, and no setting is NaN
    if isinstance(value, float) and math.isnan(value):
        return "none"
    if isinstance(value, bool | None):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(setting_in_words, value)) or "empty"
    if isinstance(value, Mapping):
        pairs = (f"{key}: {setting_in_words(each)}" for key, each in value.items())
        return ", ".join(pairs) or "none"
    return printable(str(value)) or "empty"
