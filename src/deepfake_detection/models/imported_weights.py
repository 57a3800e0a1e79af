"""The weights of a detector out of a checkpoint that another program wrote."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from deepfake_detection.errors import UserError, in_line
from deepfake_detection.models.backbones import COUNTER, expect_heads, expect_tensors
from deepfake_detection.models.initial_weights import match_weights, read_tensors
from deepfake_detection.parameters.backbones import TIMM

log = logging.getLogger(__name__)

_PARAMETER = "checkpoint"


def read_checkpoint(
    model: str, path: Path, class_order: Sequence[str], crop: int | None = None
) -> tuple[dict[str, Tensor], int]:
    """Read the weights of a two-class network, with the outputs real, fake.

    Tensors are found under any prefix, and the head under any name. A head with one output is the
    sigmoid of the second class: it becomes two, of which the other is 0. What was taken under
    another name, filled in and left out is logged.

    Args:
        model: The name of the network, as the parameter `model` takes it.
        path: A .safetensors file, or one that `torch.load(weights_only=True)` reads.
        class_order: Of the checkpoint's outputs: real, fake or fake, real.
        crop: See `build_network`.

    Returns:
        A complete state dict on the CPU; the number of the checkpoint's outputs.

    Raises:
        UserError: If it is of another network, has another number of outputs, or weights that are
            not finite.
    """
    found, entry = read_tensors(path, _PARAMETER)
    weights, prefix = match_weights(model, found, path, _PARAMETER, crop)
    expected = expect_tensors(model, transform_input=False, crop=crop)
    heads = expect_heads(model, crop)
    # torchvision's auxiliary outputs, which only training uses, come first; all of timm's count
    scoring = heads if model.startswith(TIMM) else heads[-1:]
    sources = _find_heads(weights, scoring, expected, path)
    inside = tuple(f"{head}." for head in heads)
    places = {name: name for name in expected if not name.startswith(inside)}
    for name in places:
        if name not in weights and not name.endswith(COUNTER):
            raise UserError(f"parameter '{_PARAMETER}': {path} lacks {name}")
    parts = [(head, part) for head in scoring for part in ("weight", "bias")]
    parts = [(head, part) for head, part in parts if f"{head}.{part}" in expected]
    places |= {f"{head}.{part}": f"{sources[head]}.{part}" for head, part in parts}
    state = {
        name: weights[places[name]].to(value.dtype)
        if places.get(name) in weights
        else torch.zeros(value.shape, dtype=value.dtype)
        for name, value in expected.items()
    }
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise UserError(
                f"parameter '{_PARAMETER}': {path} could give no verdict: its weights {name} are "
                "not finite"
            )
    outputs = len(weights[f"{sources[scoring[0]]}.weight"])
    for head, part in parts:
        values = state[f"{head}.{part}"][:outputs]
        if outputs == 1:
            values = torch.cat([torch.zeros_like(values), values])
        state[f"{head}.{part}"] = values if class_order[0] == "real" else values.flip(0)
    log.info(
        "%s%s holds weights of %s. Its head is %s, with %s",
        path, f" ({in_line(entry)})" if entry else "", model,
        in_line(" and ".join(prefix + source for source in sources.values())),
        _describe_outputs(outputs, class_order),
    )  # fmt: skip
    if prefix:
        log.info("The prefix %s of its names is left out", in_line(prefix))
    absent = (name for name in expected if places.get(name) not in weights)
    if filled := [name for name in absent if not name.endswith(COUNTER)]:
        log.info("Set to 0, as it does not hold them or training alone uses them: %s", filled)
    if left := weights.keys() - places.values():
        log.info("%d of its tensors are left out, such as %s", len(left), in_line(min(left)))
    return state, outputs


def _describe_outputs(outputs: int, class_order: Sequence[str]) -> str:
    if outputs == 1:
        return (
            f"one output, the logit of {class_order[1]}: it becomes two, that of {class_order[0]} "
            "being 0"
        )
    return f"the outputs {', '.join(class_order)}"


def _find_heads(
    weights: Mapping[str, Tensor], heads: Sequence[str], expected: Mapping[str, Tensor], path: Path
) -> dict[str, str]:
    """The checkpoint's name of each layer of the head; a UserError if there are others."""
    sources = {head: _find_head(weights, head, expected[f"{head}.weight"], path) for head in heads}
    if len(found := set(sources.values())) < len(heads):
        raise UserError(
            f"parameter '{_PARAMETER}': {path} needs the layers {', '.join(heads)}, which give the "
            f"outputs together: only {', '.join(found)} was found"
        )
    return sources


def _find_head(weights: Mapping[str, Tensor], head: str, expected: Tensor, path: Path) -> str:
    """The checkpoint's name of the head's layer; a UserError if there is none, or several."""
    problem = f"parameter '{_PARAMETER}': {path}"
    layers = [
        name.removesuffix(".weight")
        for name, value in weights.items()
        if name.endswith(".weight") and value.shape[1:] == expected.shape[1:]
    ]
    if head in layers:
        layers = [head]
    else:
        layers = [name for name in layers if len(weights[f"{name}.weight"]) <= len(expected)]
    if len(layers) != 1:
        found = f"it has {', '.join(layers[:5])}" if layers else "none was found"
        raise UserError(
            f"{problem} needs one layer with the outputs real and fake, from "
            f"{expected.shape[1]} features: {found}"
        )
    outputs = len(weights[f"{layers[0]}.weight"])
    if outputs > len(expected):
        raise UserError(
            f"{problem} has {outputs} classes, and a detector has two (real and fake), or one "
            "output for both"
        )
    return layers[0]
