"""The blocks `generalisation` and `protocols`: detectors, and labelled sets from elsewhere."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from deepfake_detection.errors import UserError, suggest
from deepfake_detection.parameters.base import Block
from deepfake_detection.parameters.blocks import ImageSetParameters, Line
from deepfake_detection.parameters.merging import merge

# In names of files and of columns
Name = Annotated[str, Field(pattern=r"^\w[\w-]{0,59}$")]
# What a set that leaves them out has; the rest is that of `external_evaluation`
_DEFAULTS = {"images": "folder", "path": None, "faces": "given", "published_as": None}


class LabelledSetParameters(ImageSetParameters):
    """A labelled set from elsewhere."""

    # null: the entry labelled_NAME of the catalog tells it
    path: Annotated[str, Field(min_length=1)] | None
    faces: Literal["given", "find"]
    published_as: Line | None


class GeneralisationParameters(Block):
    """Detectors and the sets that they are scored on: block `generalisation`."""

    detectors: dict[Name, Annotated[str, Field(min_length=1)]]
    sets: dict[Name, LabelledSetParameters]
    # what a protocol is for; null: none was chosen
    trained_on: Line | None


class ProtocolParameters(Block):
    """A named list of sets; they are checked once a protocol is chosen."""

    trained_on: Line
    sets: dict[Name, dict[str, Any]]


def complete_sets(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters in which each set is complete, those of the chosen protocol among them.

    Raises:
        UserError: If there is no such protocol.
    """
    completed = dict(parameters)
    block, defaults = parameters.get("generalisation"), parameters.get("external_evaluation")
    if not (isinstance(block, Mapping) and isinstance(defaults, Mapping)):
        # named as missing, or as no block
        return completed
    sets = block.get("sets")
    protocol = _find_protocol(parameters)
    if isinstance(sets, Mapping):
        merged = merge(protocol.get("sets") or {}, sets)
        completed["generalisation"] = {**block} | {
            "trained_on": protocol.get("trained_on"),
            "sets": {
                name: _complete(each, defaults) if isinstance(each, Mapping) else each
                for name, each in merged.items()
                if each is not None
            },
        }
    return completed


def _complete(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    # class folders replace those of the defaults, which this set may not have
    classes = {name: given[name] for name in ("classes",) if name in given}
    return merge(defaults, _DEFAULTS, given) | classes


def _find_protocol(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The chosen protocol; empty if none is chosen."""
    name, protocols = parameters.get("protocol"), parameters.get("protocols")
    if name is None or not isinstance(protocols, Mapping):
        return {}
    if name not in protocols:
        raise UserError(f"there is no protocol '{name}': {suggest(str(name), list(protocols))}")
    return protocols[name] if isinstance(protocols[name], Mapping) else {}
