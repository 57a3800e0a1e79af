"""Memory of large tensors on a CPU, kept from one step to the next."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# glibc's mallopt(3)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
# up to which it lets them grow by itself, where nobody sets them
_USUAL_MMAP_THRESHOLD = 32 * 2**20
_USUAL_TRIM_THRESHOLD = 2 * _USUAL_MMAP_THRESHOLD

# How many blocks are inside at the moment, nested or in threads: all share the process's memory
_inside = 0
_changing = threading.Lock()


@contextmanager
def keeping_memory(device: torch.device) -> Iterator[None]:
    """Inside, what one step frees is at hand for the next; at the end it goes back to the system.

    By itself glibc gives blocks above 32 MB back at once. Each step on a CPU then asks for its
    activations anew, page by page, and the system zeroes them first: for a batch of 64 at 224
    pixels half a million pages a step. Elsewhere, and on a GPU, which keeps its memory anyway,
    nothing is changed. Of nested blocks, and of those in threads, the last to end gives it back.

    Args:
        device: That computes.
    """
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    _enter(libc)
    try:
        yield
    finally:
        _leave(libc)


def _enter(libc: ctypes.CDLL) -> None:
    global _inside  # noqa: PLW0603  (a process has one memory)
    with _changing:
        _inside += 1
        if _inside == 1:
            libc.mallopt(_MMAP_THRESHOLD, _NEVER)
            libc.mallopt(_TRIM_THRESHOLD, _NEVER)


def _leave(libc: ctypes.CDLL) -> None:
    global _inside  # noqa: PLW0603
    with _changing:
        _inside -= 1
        if _inside == 0:
            libc.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP_THRESHOLD)
            libc.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM_THRESHOLD)
            libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    # other C libraries have neither
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
