"""The weights that training starts from: published ones, or those of a local file."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.models.backbones import (
    COUNTER,
    expect_body,
    expect_tensors,
    rename_densenet,
)

log = logging.getLogger(__name__)


def fetch_weights(model: str, weights: str) -> dict[str, Tensor]:
    """Get the weights that training starts from: a state dict on the CPU, empty for random ones.

    `weights` is `imagenet`, `none`, or the path of a local file (.safetensors, or .pth). A
    UserError says what to do if they cannot be fetched or read.
    """
    if weights == "none":
        return {}
    return _fetch_imagenet(model) if weights == "imagenet" else _read_weights(model, Path(weights))


def _fetch_imagenet(model: str) -> dict[str, Tensor]:
    published = torchvision.models.get_model_weights(model)
    # the first published ones were trained at the usual sizes, later ones often at larger ones
    entry = getattr(published, "IMAGENET1K_V1", published.DEFAULT)
    file = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[-1]
    if not file.exists():
        log.info("Fetching ImageNet weights of %s into %s", model, file)
    try:
        return dict(entry.get_state_dict(weights_only=True, check_hash=True, progress=True))
    # a damaged file leads weights_only's unpickler into several kinds of errors
    except Exception as error:
        fetched = file.exists() and not isinstance(error, URLError)
        reason = f"{file} is damaged: delete it" if fetched else f"{entry.url} cannot be fetched"
        raise UserError(
            f"ImageNet weights of {model}: {reason} ({first_line(error)}). Put the file "
            f"{file.name} into {file.parent}, or give a local file with "
            "--params training.weights=PATH, or train without with --params training.weights=none."
        ) from error


def _read_weights(model: str, path: Path) -> dict[str, Tensor]:
    """A state dict of the network, out of a file of another program too.

    A head with neither 1000 nor two outputs is left out, and what `match_weights` leaves out.
    """
    found = read_tensors(path, "training.weights")
    weights, prefix = match_weights(model, found, path, "training.weights")
    body = expect_body(model)
    known = expect_tensors(model, transform_input=False)
    used = {
        name: value
        for name, value in weights.items()
        if name in body or (name in known and (name.endswith(COUNTER) or _fits_a_head(value)))
    }
    if left := len(found) - len(used):
        first = next(name for name in found if name.removeprefix(prefix) not in used)
        log.info("Of the tensors in %s, %d are left out, such as %s", path, left, first)
    return used


def read_tensors(path: Path, parameter: str) -> dict[str, Tensor]:
    """The largest mapping of names to tensors in a .safetensors or .pth file, on the CPU.

    Other entries of a checkpoint, such as an optimiser's state, are left out. No code in the file
    is run. A UserError, which names the parameter, says that there is no such file, or that it
    holds no weights.
    """
    if not path.is_file():
        raise UserError(
            f"parameter '{parameter}': there is no file {path}. Give the path of a "
            ".safetensors or .pth file"
        )
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
        return dict(_find_state(content))
    # weights_only makes torch raise several kinds of errors for files that are not plain weights
    except Exception as error:
        raise UserError(
            f"parameter '{parameter}': {path} is no readable file of weights "
            f"({first_line(error)}). Use a .safetensors file, or a .pth file with a state dict."
        ) from error


def match_weights(
    model: str, found: Mapping[str, Tensor], path: Path, parameter: str
) -> tuple[dict[str, Tensor], str]:
    """Tensors of a file by their names in a backbone, heads and others included; and their prefix.

    The prefix, as `module.` (DistributedDataParallel) and `network.` (a detector file), is removed.
    A UserError, which names the parameter, says that tensors of the backbone are missing
    or have other shapes.
    """
    if model.startswith("densenet"):
        found = rename_densenet(found)
    body = expect_body(model)
    prefix = _find_prefix(found, body)
    weights = {
        name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)
    }
    if problem := _compare(weights, body):
        raise UserError(
            f"parameter '{parameter}': {path} does not hold weights of torchvision's {model}: "
            f"{problem}"
        )
    return weights, prefix


def _fits_a_head(value: Tensor) -> bool:
    """Whether it has 1000 or two outputs."""
    return len(value) in (1000, 2)


def _find_state(content: Any) -> Mapping[str, Tensor]:
    """The largest mapping of names to tensors in a file's content, at most two levels deep."""
    if not isinstance(content, Mapping):
        raise TypeError(f"it holds a {type(content).__name__}")
    inside = [each for each in content.values() if isinstance(each, Mapping)]
    inside += [each for one in inside for each in one.values() if isinstance(each, Mapping)]
    states = [
        {str(name): value for name, value in each.items() if isinstance(value, Tensor)}
        for each in (content, *inside)
    ]
    state = max(states, key=len)
    if not state:
        raise ValueError("it holds no tensors by name")
    return state


def _find_prefix(found: Mapping[str, Tensor], body: Mapping[str, Tensor]) -> str:
    """What stands before the names of the network; empty where that fits no worse."""
    first = next(iter(body))
    prefixes = ["", *(name.removesuffix(first) for name in found if name.endswith(f".{first}"))]
    return max(prefixes, key=lambda prefix: sum(prefix + name in found for name in body))


def _compare(weights: Mapping[str, Tensor], body: Mapping[str, Tensor]) -> str | None:
    """Why weights are not those of the network; None if they are."""
    missing = [name for name in body if name not in weights]
    if missing:
        other = next((name for name in weights if name not in body), None)
        beside = f", and has others, such as {other}" if other else ""
        return f"it lacks {len(missing)} of {len(body)} tensors, such as {missing[0]}{beside}"
    for name, expected in body.items():
        if weights[name].shape != expected.shape:
            return f"its {name} is {tuple(weights[name].shape)}, not {tuple(expected.shape)}"
    return None
