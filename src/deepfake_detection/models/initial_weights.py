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

from deepfake_detection.errors import UserError, first_line, in_line
from deepfake_detection.models.backbones import (
    COUNTER,
    expect_body,
    expect_tensors,
    rename_densenet,
)
from deepfake_detection.models.timm_networks import convert_weights, fetch_timm
from deepfake_detection.parameters.backbones import TIMM

log = logging.getLogger(__name__)

_PUBLISHED_CLASSES = 1000


def fetch_weights(model: str, weights: str) -> dict[str, Tensor]:
    """Get the weights that training starts from: a state dict on the CPU, empty for random ones.

    `weights` is `imagenet`, `none`, or the path of a local file (.safetensors, or .pth). What is
    taken of a file is logged. A UserError says what to do if they cannot be fetched or read.
    """
    found, said = _get_weights(model, weights)
    if said:
        log.info("%s", said)
    return found


def check_weights(model: str, weights: str, crop: int) -> None:
    """Raise the UserError of `fetch_weights`, also if they do not fit this crop; log nothing."""
    _get_weights(model, weights, crop)


def _get_weights(
    model: str, weights: str, crop: int | None = None
) -> tuple[dict[str, Tensor], str]:
    """As `fetch_weights`, and what there is to say of a file. `crop`: see `match_weights`."""
    if weights == "none":
        return {}, ""
    if weights != "imagenet":
        return _read_weights(model, Path(weights), crop)
    if model.startswith(TIMM):
        return _read_weights(model, fetch_timm(model), crop)
    return _fetch_imagenet(model), ""


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


def _read_weights(model: str, path: Path, crop: int | None) -> tuple[dict[str, Tensor], str]:
    """A state dict of the network, out of a file of another program too, and what is said of it.

    Heads that the network cannot take are left out, and what `match_weights` leaves out.
    """
    found, entry = read_tensors(path, "training.weights")
    weights, prefix = match_weights(model, found, path, "training.weights", crop)
    body = expect_body(model, crop)
    known = expect_tensors(model, transform_input=False, crop=crop)
    used = {
        name: value
        for name, value in weights.items()
        if name in body or (name in known and _can_load(model, value, known[name]))
    }
    said = [
        f"{path}{f' ({in_line(entry)})' if entry else ''}: took {len(used)} of {len(found)} tensors"
    ]
    said += [f"left out the prefix {in_line(prefix)} of their names"] if prefix else []
    names = [name.removeprefix(prefix) for name in found]
    if renamed := len(used.keys() - set(names)):
        said.append(f"renamed {renamed} by timm's rules")
    elif left := [name for name in names if name not in used]:
        said.append(f"left out {len(left)}, such as {in_line(left[0])}")
    others = [name for name in known if not name.endswith(COUNTER)]
    if new := [name for name in others if name not in used]:
        said.append(f"new, with random values: {', '.join(new[:4])}")
    for name in others:
        if name in weights and name not in body and len(weights[name]) != len(known[name]):
            outputs = len(weights[name])
            said.append(f"its head has {outputs} outputs and is replaced by one with two")
            break
    return used, "; ".join(said)


def _can_load(model: str, value: Tensor, expected: Tensor) -> bool:
    """Whether the network takes a head's tensor or a counter; torchvision's 1000 outputs too."""
    if value.shape == expected.shape:
        return True
    return not model.startswith(TIMM) and value.ndim > 0 and len(value) == _PUBLISHED_CLASSES


def read_tensors(path: Path, parameter: str) -> tuple[dict[str, Tensor], str]:
    """The largest mapping of names to tensors in a .safetensors or .pth file, and its entry there.

    Tensors are on the CPU. The entry is empty where the file is the mapping. Of two as large,
    averaged weights (an entry with `ema` or `teacher` in its name) are taken. Other entries of a
    checkpoint, such as an optimiser's state, are left out. No code in the file is run.
    A UserError, which names the parameter, says that there is no such file, or that it holds no
    weights.
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
        return _find_state(content)
    # weights_only makes torch raise several kinds of errors for files that are not plain weights
    except Exception as error:
        raise UserError(
            f"parameter '{parameter}': {path} is no readable file of weights "
            f"({first_line(error)}). Use a .safetensors file, or a .pth file with a state dict."
        ) from error


def match_weights(
    model: str, found: Mapping[str, Tensor], path: Path, parameter: str, crop: int | None = None
) -> tuple[dict[str, Tensor], str]:
    """Tensors of a file by their names in a backbone, heads and others included; and their prefix.

    The prefix, as `module.` (DistributedDataParallel) and `network.` (a detector file), is removed.
    Files of the authors of a network of timm are converted by timm's rules. With a crop, position
    embeddings have the size for it; without one, they may keep the file's.
    A UserError, which names the parameter, says that tensors of the backbone are missing
    or have other shapes.
    """
    if model.startswith("densenet"):
        found = rename_densenet(found)
    body = expect_body(model, crop)
    prefix = _find_prefix(found, body)
    weights = {
        name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)
    }
    problem = _compare(weights, body)
    if problem and model.startswith(TIMM):
        converted = convert_weights(model, weights, crop)
        problem = _compare(converted, body)
        if crop is not None or body.keys() - weights.keys():
            weights = converted
    if problem:
        library = "timm" if model.startswith(TIMM) else "torchvision"
        raise UserError(
            f"parameter '{parameter}': {path} does not hold weights of {library}'s "
            f"{model.removeprefix(TIMM)}: {problem}"
        )
    return weights, prefix


def _find_state(content: Any) -> tuple[dict[str, Tensor], str]:
    """The largest mapping of names to tensors, at most two levels deep, and its entry."""
    if not isinstance(content, Mapping):
        raise TypeError(f"it holds a {type(content).__name__}")
    inside = {"": content} | {str(name): each for name, each in content.items()}
    for name, one in content.items():
        if isinstance(one, Mapping):
            inside |= {f"{name}.{key}": each for key, each in one.items()}
    states = {
        entry: {str(name): value for name, value in each.items() if isinstance(value, Tensor)}
        for entry, each in inside.items()
        if isinstance(each, Mapping)
    }
    entry = max(states, key=lambda name: (len(states[name]), "ema" in name or "teacher" in name))
    if not states[entry]:
        raise ValueError("it holds no tensors by name")
    return states[entry], entry


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
