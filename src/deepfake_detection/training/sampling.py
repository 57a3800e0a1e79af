"""Which images make up an epoch and its batches."""

from collections.abc import Sequence

import torch
from torch import Tensor

from deepfake_detection.parameters import TrainingParameters
from deepfake_detection.training.batches import LabelledPixels


def list_batches(
    pictures: LabelledPixels,
    training: TrainingParameters,
    generator: torch.Generator,
    parts: int = 1,
) -> list[Tensor]:
    """Batches of one epoch as `training.sampling` says: int64 index tensors, each sorted.

    `parts` is the number of processes that share each batch; each has two images at least. With
    self-blending a batch has half as many images: each becomes two.
    """
    count, size = len(pictures), training.batch_size
    if training.self_blending.enabled:
        size //= 2
    match training.sampling:
        case "shuffle":
            shuffle = training.shuffle
            order = torch.randperm(count, generator=generator) if shuffle else torch.arange(count)
        case "paired":
            order = _pair(pictures.labels, pictures.groups, generator).flatten()
            size -= size % 2
        case rule:
            kinds = pictures.labels if rule == "balanced_labels" else pictures.classes
            order = _balance(kinds, generator)
    return divide(order, size, parts)


def count_batches(pictures: LabelledPixels, training: TrainingParameters, parts: int) -> int:
    """The number of batches of every epoch."""
    return len(list_batches(pictures, training, torch.Generator(), parts))


def divide(order: Tensor, batch_size: int, parts: int = 1) -> list[Tensor]:
    """Divide images into batches, each sorted: that reads faster, and the order changes nothing.

    Batch normalisation fails on one picture: a last batch with fewer than two for each of `parts`
    processes is merged into the batch before it.
    """
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) < 2 * parts:
        last = batches.pop()
        batches[-1] = torch.cat((batches[-1], last))
    return [batch.sort().values for batch in batches]


def _balance(kinds: Tensor, generator: torch.Generator) -> Tensor:
    """About as many images as there are: each kind in turn, its own ones in random order."""
    present = kinds.unique()
    count = -(-len(kinds) // len(present))
    columns = [_cycle((kinds == kind).nonzero()[:, 0], count, generator) for kind in present]
    return torch.stack(columns, dim=1).flatten()


def _pair(labels: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    """Each fake once, in random order, with a real image of its group: int64, [fakes, 2].

    A fake whose group has no real image is paired with any of them.
    """
    fakes = _cycle((labels == 1).nonzero()[:, 0], int((labels == 1).sum()), generator)
    reals = (labels == 0).nonzero()[:, 0]
    originals = torch.empty_like(fakes)
    for group in groups[fakes].unique().tolist():
        places = (groups[fakes] == group).nonzero()[:, 0]
        own = reals[groups[reals] == group]
        originals[places] = _cycle(own if len(own) else reals, len(places), generator)
    return torch.stack([fakes, originals], dim=1)


def _cycle(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of the images: as often as needed all of them, each time in a new order."""
    rounds: Sequence[Tensor] = [
        images[torch.randperm(len(images), generator=generator)]
        for _ in range(-(-count // len(images)))
    ]
    return torch.cat(list(rounds))[:count]
