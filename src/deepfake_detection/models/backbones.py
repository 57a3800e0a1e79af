"""Backbones: any classification network of torchvision or timm, with a two-class head."""

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar

import torch
import torchvision
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.models.timm_networks import (
    build_timm,
    convert_weights,
    find_timm_heads,
    is_of_timm,
)
from deepfake_detection.parameters.backbones import TIMM, name_in_timm, untagged

T = TypeVar("T")

_IMAGENET_CLASSES, _DETECTED_CLASSES = 1000, 2
_LARGEST_CROP = 1024
# Of batches that batch norm has seen: files of older versions lack it, and nothing here uses it
COUNTER = "num_batches_tracked"


@cache
def list_backbones() -> tuple[str, ...]:
    """Names of torchvision's classification networks, as `model` takes them beside timm's."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def check_backbone(model: str) -> None:
    """Raise a UserError if neither torchvision nor (for `timm/NAME`) timm has this network."""
    if model in list_backbones():
        return
    if model.startswith(TIMM):
        name_in_timm(model)
        return
    close = get_close_matches(str(model).lower(), list_backbones(), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "torchvision has no such network."
    raise UserError(
        f"unknown model '{model}': {hint} Any of torchvision's {len(list_backbones())} "
        "classification networks can be used, by its name in torchvision.models, and timm's as "
        f"{TIMM}NAME."
    )


def build_network(model: str, *, transform_input: bool, crop: int | None = None) -> nn.Module:
    """Build a backbone with a 1000-class head and random weights.

    `transform_input` is whether inception_v3 and googlenet undo the usual normalisation, as
    torchvision's ImageNet weights of these two expect; the others ignore it. `crop` is the side of
    the pictures, which timm's networks of a fixed size are built for; else they have their own.
    """
    if model.startswith(TIMM):
        return build_timm(model, _IMAGENET_CLASSES, crop)
    settings: dict[str, bool] = {}
    if model in ("inception_v3", "googlenet"):
        # their own initialisation draws from a truncated normal for many seconds
        settings = {"init_weights": False, "aux_logits": True, "transform_input": transform_input}
    network: nn.Module = torchvision.models.get_model(model, weights=None, **settings)
    return network


def replace_heads(network: nn.Module, classes: int = 2) -> list[str]:
    """Replace every layer with 1000 outputs by a new one with `classes` outputs, in place.

    These are the network's head, whose names are returned; inception_v3 and googlenet have some for
    auxiliary outputs. timm's networks replace theirs themselves.
    """
    if is_of_timm(network):
        network.reset_classifier(classes)  # type: ignore[operator]
        return find_timm_heads(network, classes)
    heads = []
    for name, layer in list(network.named_modules()):
        new: nn.Module
        if isinstance(layer, nn.Linear) and layer.out_features == _IMAGENET_CLASSES:
            new = nn.Linear(layer.in_features, classes, bias=layer.bias is not None)
        elif isinstance(layer, nn.Conv2d) and layer.out_channels == _IMAGENET_CLASSES:
            new = nn.Conv2d(layer.in_channels, classes, layer.kernel_size)  # type: ignore[arg-type]
        else:
            continue
        network.set_submodule(name, new)
        heads.append(name)
    if not heads:
        raise ValueError(f"{type(network).__name__} has no layer with {_IMAGENET_CLASSES} outputs")
    return heads


def find_head(network: nn.Module) -> nn.Module:
    """The layer that gives the outputs of a two-class network: the last one with two outputs.

    Auxiliary heads come before it. Of a network of timm, the first of its heads.
    """
    if is_of_timm(network):
        return network.get_submodule(find_timm_heads(network, _DETECTED_CLASSES)[0])
    heads = [
        layer
        for layer in network.modules()
        if getattr(layer, "out_features", getattr(layer, "out_channels", None)) == _DETECTED_CLASSES
    ]
    if not heads:
        raise ValueError(f"{type(network).__name__} has no layer with two outputs")
    return heads[-1]


def split_parameters(
    network: nn.Module, heads: list[str]
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters of the backbone without its head, and of the head."""
    prefixes = tuple(f"{name}." for name in heads)
    parts: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
    for name, parameter in network.named_parameters():
        parts[name.startswith(prefixes)].append(parameter)
    return parts


def check_crop(model: str, crop: int) -> None:
    """Raise a UserError if a backbone takes no pictures of this size; nothing is computed."""
    problem = try_crop(model, crop)
    if problem is None:
        return
    larger = (size for size in range(16, _LARGEST_CROP, 16) if size > crop)
    enough = next((size for size in larger if try_crop(model, size) is None), None)
    hint = f"the next size that it takes is {enough}" if enough else problem
    raise UserError(
        f"parameter 'backbones': {model} cannot take pictures of {crop}×{crop} pixels; {hint}. "
        f"Set backbones.{untagged(model)}.resize and backbones.{untagged(model)}.crop."
    )


@cache
def try_crop(model: str, crop: int, *, training: bool = True) -> str | None:
    """Why a backbone takes no pictures of this size in training, or in scoring; None if it does."""
    try:
        network, _ = _on_meta_device(model, crop=crop)
        network.train(training)(torch.empty(2, 3, crop, crop, device="meta"))
    # whatever shape arithmetic goes wrong inside: RuntimeError, ValueError, AssertionError …
    except Exception as error:
        return first_line(error)
    return None


def _build_two_class(
    model: str, classes: int = _DETECTED_CLASSES, *, transform_input: bool, crop: int | None
) -> tuple[nn.Module, list[str]]:
    """A backbone with a new head of `classes` outputs, and the names of the head's layers."""
    if model.startswith(TIMM):
        network = build_timm(model, classes, crop)
        return network, find_timm_heads(network, classes)
    network = build_network(model, transform_input=transform_input)
    return network, replace_heads(network, classes)


def _on_meta_device(
    model: str, *, transform_input: bool = False, crop: int | None = None
) -> tuple[nn.Module, list[str]]:
    """A two-class network on the meta device, which computes shapes alone, and its head."""
    try:
        with torch.device("meta"):
            return _build_two_class(model, transform_input=transform_input, crop=crop)
    except RuntimeError:
        # regnets, and some of timm's networks, compute their widths with tensors
        with _SkipInitialisation():
            network, heads = _build_two_class(model, transform_input=transform_input, crop=crop)
        return network.to("meta"), heads


def build_backbone(
    model: str, weights: Mapping[str, Tensor], *, transform_input: bool, crop: int | None = None
) -> tuple[nn.Module, list[str]]:
    """Build a backbone with a two-class head, and name its head's layers.

    `weights` is a state dict of the network with 1000 classes, with two, or without a head (a
    UserError says that it does not fit); empty for random ones. Position embeddings of another size
    are resampled. `transform_input`, `crop`: see `build_network`.
    """
    if not weights or model.startswith(TIMM):
        network, heads = _build_two_class(model, transform_input=transform_input, crop=crop)
        problem = _load_timm(model, network, heads, weights, crop) if weights else None
    else:
        network = build_network(model, transform_input=transform_input)
        weights = rename_densenet(weights) if model.startswith("densenet") else weights
        problem = _load(network, _complete(network, weights))
        heads = replace_heads(network)
        if problem and not _load(network, _complete(network, weights, heads)):
            problem = None
    if problem:
        raise UserError(
            f"parameter 'training.weights': the weights do not fit {model}: {problem}. "
            "They must be of the same network, with 1000 classes, two, or without a head."
        )
    return network, heads


def _complete(
    network: nn.Module, weights: Mapping[str, Tensor], heads: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Weights with the network's own values of what files may lack: counters, and all heads."""
    own = network.state_dict()
    ours = [name for name in own if name.startswith(tuple(f"{head}." for head in heads))]
    if any(name in weights for name in ours):
        ours = []
    ours += [name for name in own if name.endswith(COUNTER)]
    return {name: own[name] for name in ours} | dict(weights)


def _load_timm(
    model: str,
    network: nn.Module,
    heads: Sequence[str],
    weights: Mapping[str, Tensor],
    crop: int | None,
) -> str | None:
    """Load weights into a two-class network of timm; why they do not fit, or None."""
    own = network.state_dict()
    if any(own[name].shape != value.shape for name, value in weights.items() if name in own):
        weights = convert_weights(model, weights, crop)
    ours = {name: value for name, value in own.items() if _may_lack(model, name, heads)}
    kept = {
        name: value
        for name, value in weights.items()
        if name not in ours or ours[name].shape == value.shape
    }
    return _load(network, ours | kept)


def _may_lack(model: str, name: str, heads: Sequence[str]) -> bool:
    """Whether a file of weights may lack this tensor: a counter, or one of the heads.

    timm's networks may have a norm in what holds the head, which files without a head lack.
    """
    parts = {head.split(".")[0] for head in heads} if model.startswith(TIMM) else heads
    return name.endswith(COUNTER) or name.startswith(tuple(f"{part}." for part in parts))


def build_detecting_network(
    model: str,
    weights: Mapping[str, Tensor],
    classes: int,
    *,
    transform_input: bool,
    crop: int | None = None,
) -> nn.Module:
    """Build a backbone with a head of `classes` outputs out of all its weights.

    Initial weights are not drawn, since these replace them: vgg16 would take two seconds for it.
    RuntimeError: as `put_weights`.
    """
    with _SkipInitialisation():
        network, _ = _build_two_class(model, classes, transform_input=transform_input, crop=crop)
    put_weights(network, weights, assign=True)
    return network


def expect_tensors(
    model: str, *, transform_input: bool, crop: int | None = None
) -> dict[str, Tensor]:
    """The state dict of a backbone with a two-class head, without values (on the meta device)."""
    network, _ = _on_meta_device(model, transform_input=transform_input, crop=crop)
    return dict(network.state_dict())


def expect_heads(model: str, crop: int | None = None) -> list[str]:
    """Names of the layers of a two-class network's head, as `build_backbone` gives them."""
    return _on_meta_device(model, crop=crop)[1]


def expect_body(model: str, crop: int | None = None) -> dict[str, Tensor]:
    """What any file of weights of a backbone has: all tensors but heads and counters."""
    network, heads = _on_meta_device(model, crop=crop)
    return {
        name: value
        for name, value in network.state_dict().items()
        if not _may_lack(model, name, heads)
    }


class _SkipInitialisation(TorchFunctionMode):
    """Inside, PyTorch's initialisers return their tensor as it is."""

    _INITIALISERS = frozenset(
        value for name, value in vars(nn.init).items() if name.endswith("_") and callable(value)
    )

    def __torch_function__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in self._INITIALISERS:
            return func(*args, **kwargs)
        return args[0] if args else kwargs["tensor"]


def put_weights(network: nn.Module, weights: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Load weights that were kept as a plain mapping, from names to tensors.

    PyTorch's own state dicts carry the versions of layers beside it, without which mnasnets take no
    weights. Those of the network at hand are taken. With `assign`, the network has these very
    tensors, instead of copies. A RuntimeError says that names or shapes are others.
    """
    state = OrderedDict(weights)
    state._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    network.load_state_dict(state, assign=assign)


def _load(network: nn.Module, weights: Mapping[str, Tensor]) -> str | None:
    try:
        put_weights(network, weights)
    except RuntimeError as error:
        problems = str(error).splitlines()[1:] or [str(error)]
        return f"{problems[0].strip()} ({len(problems)} such)"[:300]
    return None


_DENSENET_NAME = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var|num_batches_tracked))$"
)


def rename_densenet(weights: Mapping[str, T]) -> dict[str, T]:
    """Names of today: torchvision's files of densenet have a dot too many in theirs."""
    return {_DENSENET_NAME.sub(r"\1\2", name): value for name, value in weights.items()}
