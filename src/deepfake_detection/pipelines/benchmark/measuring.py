"""Measuring parts in processes of their own, in turn."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any

import psutil
import torch

from deepfake_detection.models.memory import keeping_memory
from deepfake_detection.pipelines.benchmark.parts import Part

_SECONDS_BETWEEN_READINGS = 0.05

# The part of a process that measures, and what it holds until the process ends
_part: Part | None = None
_held = ExitStack()


class PartProcess:
    """A part in a process of its own, which idles while the others are measured."""

    def __init__(self, make: Callable[..., Part], *arguments: Any) -> None:
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _end_silently_on_ctrl_c)
        self._arguments = (make, *arguments)

    def __enter__(self) -> PartProcess:
        try:
            self._pool.submit(_make, *self._arguments).result()
        except BaseException:
            self._pool.shutdown()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def ask(self, question: str) -> float:
        """Call a method of the part without arguments, as `time_pass`."""
        return self._pool.submit(_ask, question).result()

    def measure(self) -> tuple[float, float]:
        """Images per second of a pass, and the peak of memory during it in MB."""
        return self._pool.submit(_measure).result()


def _end_silently_on_ctrl_c() -> None:
    # a terminal sends it to all processes, and one of them has something to say
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _make(make: Callable[..., Part], *arguments: Any) -> None:
    global _part  # noqa: PLW0603  (a process has one part)
    logging.getLogger("deepfake_detection").setLevel(logging.WARNING)
    _part = make(*arguments)
    if _part.keeps_memory:
        _held.enter_context(keeping_memory(_part.setup.device))


def _ask(question: str) -> float:
    return float(getattr(_part, question)())


def _measure() -> tuple[float, float]:
    if _part is None:
        raise RuntimeError("no part was made in this process")
    device = _part.setup.device
    with _watching_memory(device) as peak:
        speed = _part.time_pass()
    if device.type == "cuda":
        # the parts share the device
        torch.cuda.empty_cache()
    return speed, max(peak) / 1e6


@contextmanager
def _watching_memory(device: torch.device) -> Iterator[list[float]]:
    """Bytes held at most inside: a GPU's; or those of this process and its children.

    Mapped files are left out, where the system tells them apart: they can be dropped at any time.
    """
    peak = [0.0]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak.append(torch.cuda.max_memory_allocated(device))
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_READINGS):
            peak[0] = max(peak[0], _memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()
        peak.append(_memory())


def _memory() -> float:
    total = 0.0
    here = psutil.Process()
    for process in (here, *here.children(recursive=True)):
        try:
            held = process.memory_info()
        except psutil.Error:
            # it has just ended
            continue
        total += held.rss - getattr(held, "shared", 0)
    return total
