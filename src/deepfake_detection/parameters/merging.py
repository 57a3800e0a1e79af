"""Blocks of parameters merged over each other."""

from collections.abc import Mapping
from typing import Any

Raw = dict[str, Any]


def merge(*blocks: Mapping[str, Any]) -> Raw:
    """Each block over those before it. `OmegaConf.merge` takes 40 ms for the settings of a run."""
    merged: Raw = {}
    for block in blocks:
        for key, value in block.items():
            below: Any = merged.get(key)
            both = isinstance(value, Mapping) and isinstance(below, Mapping)
            merged[key] = merge(below, value) if both else value
    return merged
