"""Batches of labelled pictures, read and copied to the device while it computes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deepfake_detection.images.pixel_cache import PixelArray, Pixels, Rows, prefetch_batches
from deepfake_detection.models.forward import to_batch

log = logging.getLogger(__name__)

# The share of a GPU's free memory that pictures may take; the network needs the rest
_SHARE_FOR_PICTURES = 0.4
_ROWS_OF_A_COPY = 512


def _nothing() -> Tensor:
    return torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class LabelledPixels:
    """Pictures of a subset and their labels.

    Attributes:
        array: uint8, [images, crop, crop, 3]: a memory-mapped cache, or files in its place.
        rows: int, [n]: of the subset.
        labels: int64, [n]: 1 fake, 0 real.
        classes: int64, [n]: numbers of the class folders; these three may be empty.
        sources: int64, [n]: numbers of the sources.
        groups: int64, [n]: numbers of the groups.
        landmarks: float32, [n, 5, 2]: of the faces, x and y as shares of the file's sides.
    """

    array: PixelArray
    rows: Rows
    labels: Tensor
    classes: Tensor = field(default_factory=_nothing)
    sources: Tensor = field(default_factory=_nothing)
    groups: Tensor = field(default_factory=_nothing)
    landmarks: Tensor | None = None

    @classmethod
    def of(cls, pixels: Pixels, images: pd.DataFrame) -> LabelledPixels:
        """Those of a table with a row for each image, as `split` has."""
        labels = torch.from_numpy(images["label"].to_numpy(dtype="int64", copy=True))
        classes, sources, groups = (
            torch.from_numpy(pd.factorize(images[name])[0].astype("int64"))
            for name in ("class_name", "source", "group")
        )
        rows = pixels.rows(images["sha256"].tolist())
        return cls(pixels.array, rows, labels, classes, sources, groups, _read_landmarks(images))

    def __len__(self) -> int:
        return len(self.rows)

    def real(self) -> LabelledPixels:
        """The real ones alone."""
        places = (self.labels == 0).nonzero()[:, 0]
        landmarks = None if self.landmarks is None else self.landmarks[places]
        return LabelledPixels(
            self.array, self.rows[places.numpy()], self.labels[places], landmarks=landmarks
        )


def _read_landmarks(images: pd.DataFrame) -> Tensor | None:
    # older splits have no such column
    if images.empty or "landmarks" not in images or images["landmarks"].isna().any():
        return None
    places = [json.loads(each) for each in images["landmarks"]]
    return torch.tensor(places, dtype=torch.float32).view(-1, 5, 2)


class BatchLoader:
    """Loads `pictures` onto a device, batch by batch; `labels` are those of all, on the CPU.

    Resident pictures are copied to the GPU once for all epochs. Others are streamed: while the GPU
    computes on a batch, the next is read, pinned and copied. A CPU reads the memory-mapped file.
    """

    def __init__(self, pictures: LabelledPixels, device: torch.device, *, resident: bool) -> None:
        self.pictures, self._device = pictures, device
        self.labels, self._labels = pictures.labels, pictures.labels.to(device)
        self._resident = _copy_all(pictures, device) if resident else None

    def __len__(self) -> int:
        return len(self.pictures)

    def batches(self, order: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield pictures, uint8 [b, 3, h, w] in channels-last layout, and labels, int64 [b].

        `order` has the pictures of each batch: int64 index tensors on the CPU.
        """
        if not order:
            return
        # one copy for all batches: each copy waits for the work that is queued on the device
        places = torch.cat(list(order)).to(self._device).split([len(chosen) for chosen in order])
        for chosen, pictures in zip(places, self._load(order, places), strict=True):
            yield pictures, self._labels[chosen]

    def _load(self, order: Sequence[Tensor], places: Sequence[Tensor]) -> Iterator[Tensor]:
        if self._resident is not None:
            yield from (self._resident[chosen].permute(0, 3, 1, 2) for chosen in places)
            return
        rows = [self.pictures.rows[chosen.numpy()] for chosen in order]
        read = prefetch_batches(self.pictures.array, rows)
        if self._device.type == "cuda":
            yield from _stream(read, self._device)
        else:
            yield from (to_batch(pixels, self._device) for pixels in read)


def _copy_all(pictures: LabelledPixels, device: torch.device) -> Tensor:
    """All pictures, uint8 [n, h, w, 3]; copied in parts to save main memory."""
    size = pictures.array.shape[1:]
    resident = torch.empty((len(pictures), *size), dtype=torch.uint8, device=device)
    starts = range(0, len(pictures), _ROWS_OF_A_COPY)
    parts = [pictures.rows[at : at + _ROWS_OF_A_COPY] for at in starts]
    for at, pixels in zip(starts, prefetch_batches(pictures.array, parts), strict=True):
        resident[at : at + len(pixels)] = torch.from_numpy(pixels).to(device)
    return resident


def _stream(
    read: Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]], device: torch.device
) -> Iterator[Tensor]:
    """Copy each batch to a GPU in a CUDA stream of its own, one batch ahead of the computation."""
    copying = torch.cuda.Stream(device)
    ready: Tensor | None = None
    for pixels in read:
        pinned = torch.from_numpy(pixels).pin_memory()
        with torch.cuda.stream(copying):
            coming = pinned.to(device, non_blocking=True)
        if ready is not None:
            yield ready
        torch.cuda.current_stream(device).wait_stream(copying)
        # its memory must not be reused before the computation is done with it
        coming.record_stream(torch.cuda.current_stream(device))
        ready = coming.permute(0, 3, 1, 2)
    if ready is not None:
        yield ready


def fit_on(device: torch.device, pictures: Sequence[LabelledPixels]) -> bool:
    """Whether to copy all these pictures to the device: to a GPU with enough free memory only."""
    if device.type != "cuda":
        return False
    needed = sum(len(each) * int(np.prod(each.array.shape[1:])) for each in pictures)
    free, _ = torch.cuda.mem_get_info(device)
    # PyTorch holds on to memory that earlier tensors used, and uses it again
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    resident = needed <= _SHARE_FOR_PICTURES * free
    log.info(
        "The pictures (%.2f GB) %s the GPU (%.1f GB are free)",
        needed / 1e9, "stay on" if resident else "are streamed to", free / 1e9,
    )  # fmt: skip
    return resident
