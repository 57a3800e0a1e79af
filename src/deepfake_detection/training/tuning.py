"""Which parameters learn, and at which rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from deepfake_detection.models.network_blocks import list_blocks
from deepfake_detection.parameters import OptimizerParameters, TuneParameters

Group = dict[str, Any]


def freeze(network: nn.Module, heads: Sequence[str], tune: TuneParameters) -> list[nn.Module]:
    """Let only the chosen layers learn, in place; returns the frozen normalisation layers.

    These, which keep statistics of batches, have to be in evaluation mode while the others train.
    """
    prefixes = tuple(f"{name}." for name in _chosen(network, heads, tune))
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(tune.layers == "all" or name.startswith(prefixes))
    if tune.layers == "all":
        return []
    return [
        layer
        for name, layer in network.named_modules()
        if getattr(layer, "running_mean", None) is not None and not f"{name}.".startswith(prefixes)
    ]


def _chosen(network: nn.Module, heads: Sequence[str], tune: TuneParameters) -> list[str]:
    """Names of the modules that learn."""
    if tune.layers == "norm":
        return [*heads, *(name for name, each in network.named_modules() if _is_norm(each))]
    if tune.layers == "last":
        return [
            *heads,
            *(name for block in list_blocks(network, heads)[-tune.blocks :] for name in block),
        ]
    return list(heads)


def _is_norm(layer: nn.Module) -> bool:
    """Whether it is a normalisation layer: by its name, as libraries have many of their own."""
    own = list(layer.parameters(recurse=False))
    return bool(own) and "norm" in type(layer).__name__.lower() and all(p.ndim == 1 for p in own)


def group_parameters(
    network: nn.Module, heads: Sequence[str], tune: TuneParameters, optimizer: OptimizerParameters
) -> tuple[list[Group], list[Group]]:
    """Groups of parameters with equal rates and weight decay, of the backbone and of the head.

    Each has `params`, `lr` and `weight_decay`. Without layer-wise decay, and with decay of all,
    each list has one.
    """
    prefixes = tuple(f"{name}." for name in heads)
    blocks = list_blocks(network, heads)
    # a parameter of no block, as a class token, is as early as the first one
    depths = {f"{name}.": len(blocks) - 1 - at for at, block in enumerate(blocks) for name in block}
    groups: tuple[dict[tuple[float, float], Group], ...] = ({}, {})
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        in_head = name.startswith(prefixes)
        rate = optimizer.lr
        if in_head:
            rate *= optimizer.head_lr_multiple
        elif tune.layer_decay < 1:
            depth = next(
                (each for at, each in depths.items() if name.startswith(at)), len(blocks) - 1
            )
            rate *= tune.layer_decay**depth
        exempt = not optimizer.decay_norms and parameter.ndim <= 1
        decay = 0.0 if exempt else optimizer.weight_decay
        new: Group = {"params": [], "lr": rate, "weight_decay": decay}
        groups[in_head].setdefault((rate, decay), new)["params"].append(parameter)
    backbone, head = ([*each.values()] for each in groups)
    return backbone, head
