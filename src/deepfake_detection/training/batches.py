"""Batches of labelled pictures on the device, one after the other without waiting."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deepfake_detection.images.pixel_cache import PixelArray, Rows, prefetch_batches
from deepfake_detection.models.detector import to_batch

log = logging.getLogger(__name__)

# Of a GPU's free memory: what pictures may take, the rest being for the network
_SHARE_FOR_PICTURES = 0.4
_ROWS_OF_A_COPY = 512


@dataclass(frozen=True)
class LabelledPixels:
    """Pictures to learn from.

    Attributes:
        array: uint8, [images, crop, crop, 3]: a memory-mapped store, or files in its place.
        rows: int, [n]: which of them.
        labels: int64, [n]: 1 fake, 0 real.
    """

    array: PixelArray
    rows: Rows
    labels: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def bytes(self) -> int:
        """What the pictures take in memory."""
        return len(self) * int(np.prod(self.array.shape[1:]))


def batch_order(
    count: int,
    batch_size: int,
    shuffle: bool = False,
    generator: torch.Generator | None = None,
    parts: int = 1,
) -> list[Tensor]:
    """Cut `count` pictures into batches.

    Args:
        count: Pictures.
        batch_size: Of all processes together.
        shuffle: Whether their order is drawn.
        generator: Draws it.
        parts: Processes that each take a part of every batch. A last batch with fewer than two
            pictures for each, on which batch normalisation fails, joins the batch before it.

    Returns:
        int64 index tensors, which together hold each of 0…count − 1 once; ascending in themselves,
        since that is read faster from a file, and the order inside a batch is moot.
    """
    order = torch.randperm(count, generator=generator) if shuffle else torch.arange(count)
    batches = list(order.split(batch_size))
    if len(batches) > 1 and len(batches[-1]) < 2 * parts:
        last = batches.pop()
        batches[-1] = torch.cat((batches[-1], last))
    return [batch.sort().values for batch in batches]


class BatchLoader:
    """Brings pictures to a device, batch by batch.

    Where they fit, they are copied onto a GPU once for all epochs. Where not, they stream ahead of
    it: while a batch is used, the next is read, pinned and copied beside the computation. A CPU
    takes them from the memory-mapped file.

    Args:
        pictures: What to bring.
        device: Where to.
        resident: Whether they are copied there at once.
    """

    def __init__(self, pictures: LabelledPixels, device: torch.device, *, resident: bool) -> None:
        self._pictures, self._device = pictures, device
        self._labels = pictures.labels.to(device)
        self._resident = _copy_all(pictures, device) if resident else None

    def __len__(self) -> int:
        return len(self._pictures)

    def labels_of(self, chosen: Tensor) -> Tensor:
        """Labels of some of the pictures, on the CPU."""
        return self._pictures.labels[chosen]

    def batches(self, order: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pictures, uint8 [b, 3, h, w] in channels-last layout, and labels, int64 [b].

        Args:
            order: int64 index tensors on the CPU: the pictures of each batch.
        """
        sizes = [len(chosen) for chosen in order]
        # one copy for the whole pass, since each would wait for what the device has yet to do
        places = torch.cat(list(order)).to(self._device).split(sizes)
        for chosen, pictures in zip(places, self._bring(order, places), strict=True):
            yield pictures, self._labels[chosen]

    def _bring(self, order: Sequence[Tensor], places: Sequence[Tensor]) -> Iterator[Tensor]:
        if self._resident is not None:
            yield from (self._resident[chosen].permute(0, 3, 1, 2) for chosen in places)
            return
        rows = [self._pictures.rows[chosen.numpy()] for chosen in order]
        read = prefetch_batches(self._pictures.array, rows)
        if self._device.type == "cuda":
            yield from _copy_beside(read, self._device)
        else:
            yield from (to_batch(pixels, self._device) for pixels in read)


def _copy_all(pictures: LabelledPixels, device: torch.device) -> Tensor:
    """All pictures on the device, uint8, [n, h, w, 3]; a part at a time, to spare memory here."""
    size = pictures.array.shape[1:]
    resident = torch.empty((len(pictures), *size), dtype=torch.uint8, device=device)
    starts = range(0, len(pictures), _ROWS_OF_A_COPY)
    parts = [pictures.rows[at : at + _ROWS_OF_A_COPY] for at in starts]
    for at, pixels in zip(starts, prefetch_batches(pictures.array, parts), strict=True):
        resident[at : at + len(pixels)] = torch.from_numpy(pixels).to(device)
    return resident


def _copy_beside(
    read: Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], device: torch.device
) -> Iterator[Tensor]:
    """Copy each batch to a GPU in a stream of its own, one ahead of the computation."""
    beside = torch.cuda.Stream(device)
    ready: Tensor | None = None
    for pixels in read:
        pinned = torch.from_numpy(pixels).pin_memory()
        with torch.cuda.stream(beside):
            coming = pinned.to(device, non_blocking=True)
        if ready is not None:
            yield ready
        torch.cuda.current_stream(device).wait_stream(beside)
        # its memory must not be given away before the computation has used it
        coming.record_stream(torch.cuda.current_stream(device))
        ready = coming.permute(0, 3, 1, 2)
    if ready is not None:
        yield ready


def fit_on(device: torch.device, pictures: Sequence[LabelledPixels]) -> bool:
    """Whether all these pictures are to live on a device; the log says where a GPU has them.

    Only a GPU with memory of its own takes them, and only while most of what is free remains.
    """
    if device.type != "cuda":
        return False
    needed = sum(each.bytes for each in pictures)
    free, _ = torch.cuda.mem_get_info(device)
    resident = needed <= _SHARE_FOR_PICTURES * free
    log.info(
        "The pictures (%.2f GB) %s (%.1f GB are free)",
        needed / 1e9, "live on the GPU" if resident else "stream ahead of the GPU", free / 1e9,
    )  # fmt: skip
    return resident
