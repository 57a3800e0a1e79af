"""The blocks of a network, from its input to its head."""

from collections.abc import Iterator, Sequence

from torch import nn

# A part with more than this share of the parameters is divided further
_MOST_OF_A_NETWORK = 0.5
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def list_blocks(network: nn.Module, heads: Sequence[str]) -> list[list[str]]:
    """Names of the modules of each block, in order: residual blocks, encoder layers, convolutions.

    Modules without a matrix of weights, as normalisation layers, and what leads to auxiliary heads
    belong to the block before them. Together the modules hold all parameters but those of `heads`
    and single ones, as a transformer's class token. The last of `heads` is the main one.
    """
    blocks: list[list[str]] = []
    auxiliary = tuple(f"{head.rpartition('.')[0]}." for head in heads[:-1])
    for name, module in _divide(network, "", set(heads)):
        if not any(True for _ in module.parameters()):
            continue
        small = all(parameter.ndim < 2 for parameter in module.parameters())
        if blocks and (small or name.startswith(auxiliary)):
            blocks[-1].append(name)
        else:
            blocks.append([name])
    return blocks


def choose_described_layers(network: nn.Module, heads: Sequence[str]) -> list[str]:
    """Modules at 1/2 and 3/4 of the depth, whose outputs describe an image (`TrainingDistance`).

    The head's input, which is used too, keeps little but what separates the two classes.
    """
    blocks = list_blocks(network, heads)
    places = sorted({len(blocks) // 2, 3 * len(blocks) // 4})
    return [blocks[at][0] for at in places if at < len(blocks)]


def _divide(module: nn.Module, prefix: str, heads: set[str]) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        full = f"{prefix}{name}"
        if full in heads:
            continue
        if _is_divided(child) or any(head.startswith(f"{full}.") for head in heads):
            yield from _divide(child, f"{full}.", heads)
        else:
            yield full, child


def _is_divided(module: nn.Module) -> bool:
    """Whether it holds several blocks: a container of them, or a module that is mostly one."""
    if isinstance(module, _CONTAINERS):
        matrices = (parameter.ndim > 1 for parameter in module.parameters())
        return sum(matrices) > 1
    most = _MOST_OF_A_NETWORK * _count(module)
    return any(
        isinstance(child, _CONTAINERS) and len(child) > 1 and _count(child) > most
        for child in module.children()
    ) and not _is_small(module)


def _is_small(module: nn.Module) -> bool:
    """Whether a module's containers are the steps of one block, not blocks themselves."""
    return not any(
        isinstance(child, _CONTAINERS) and any(_has_parts(each) for each in child.children())
        for child in module.children()
    )


def _has_parts(module: nn.Module) -> bool:
    """Whether it consists of modules that consist of modules."""
    return any(any(True for _ in child.children()) for child in module.children())


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
