"""Networks of timm as backbones, and the weights that timm publishes.

timm is an optional package. It is imported when a network of it is asked for.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.parameters.backbones import name_in_timm

_PICKLED = {
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


def build_timm(model: str, classes: int, crop: int | None) -> nn.Module:
    """Build a network of timm with random weights and a head of `classes` outputs.

    A network for pictures of one size is built for `crop` pixels, or for its own size.
    A UserError says that timm is missing or has no such network.
    """
    name = name_in_timm(model)
    import timm

    published = timm.get_pretrained_cfg(name)
    fixed = crop is not None and published is not None and published.fixed_input_size
    size: dict[str, Any] = {"img_size": crop} if fixed else {}
    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=classes, **size)
    return network


def is_of_timm(network: nn.Module) -> bool:
    """Whether a network is one of timm."""
    return hasattr(network, "get_classifier")


def find_timm_heads(network: nn.Module, classes: int) -> list[str]:
    """Names of the layers with `classes` outputs in what timm calls the classifier.

    The first gives the outputs; of a distilled network, all together do.
    """
    found = network.get_classifier()  # type: ignore[operator]
    parts = list(found) if isinstance(found, tuple | list) else [found]
    # of volo, for its patches
    parts += [network.aux_head] if getattr(network, "aux_head", None) is not None else []
    inside = {id(layer) for part in parts for layer in part.modules()}
    heads = [
        name
        for name, layer in network.named_modules()
        if id(layer) in inside
        and getattr(layer, "out_features", getattr(layer, "out_channels", None)) == classes
    ]
    if not heads:
        raise ValueError(f"{type(network).__name__} has no head with {classes} outputs")
    return heads


def convert_weights(
    model: str, weights: Mapping[str, Tensor], crop: int | None
) -> dict[str, Tensor]:
    """Weights of the authors' own files or of another size, by timm's rules for the family.

    Names become those of timm's network, and position embeddings are resampled to its size for
    `crop`. Weights that these rules do not know, or of another size of patches, are returned as
    they are.
    """
    import timm

    family = importlib.import_module(timm.models.model_entrypoint(name_in_timm(model)).__module__)
    convert = getattr(family, "checkpoint_filter_fn", None)
    if convert is None:
        return dict(weights)
    # rules read shapes of the network
    with torch.device("meta"):
        network = build_timm(model, 2, crop)
    own = network.state_dict()
    if any(
        name.endswith("patch_embed.proj.weight") and name in own and own[name].shape != value.shape
        for name, value in weights.items()
    ):
        return dict(weights)
    try:
        return dict(convert(dict(weights), network))
    # of a file of another network, whose names or shapes the rules do not expect
    except Exception:
        return dict(weights)


def fetch_timm(model: str) -> Path:
    """Fetch timm's published weights of a network: a safetensors file in Hugging Face's cache.

    A UserError says what to do if there are none, or if they cannot be fetched.
    """
    name = name_in_timm(model)
    import timm

    published = timm.get_pretrained_cfg(name)
    if published is None or not published.hf_hub_id:
        raise UserError(
            f"parameter 'training.weights': timm publishes no weights of {name}. Give a local file "
            "with --params training.weights=PATH, or train without with --params "
            "training.weights=none."
        )
    repository, _, revision = published.hf_hub_id.partition("@")
    file = published.hf_hub_filename or "pytorch_model.bin"
    file = _PICKLED.get(file, str(Path(file).with_suffix(".safetensors")))
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repository, file, revision=revision or None))
    # of the network, of the hub, or of a cache that cannot be written
    except Exception as error:
        address = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{file}"
        raise UserError(
            f"pretrained weights of {model}: {address} cannot be fetched ({first_line(error)}). "
            "Fetch it elsewhere and give the file with --params training.weights=PATH, or train "
            "without with --params training.weights=none."
        ) from error
