"""Reuse of memory on a CPU from one step to the next."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters of glibc's mallopt(3), and the values up to which glibc raises them by itself
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_USUAL = {_MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}
_NEVER = 2**31 - 1

# Blocks that are open at the moment, nested or in threads: they share the process's memory
_open_blocks = 0
_lock = threading.Lock()


@contextmanager
def keeping_memory(device: torch.device) -> Iterator[None]:
    """Inside, freed memory stays with the process, for the next step; at the end it is returned.

    glibc returns each block above 32 MB to the system when it is freed. Every step on a CPU then
    asks for new pages, which the system has to zero: half a million for a batch of 64 pictures of
    224 pixels. Other C libraries are left alone, and GPUs, where PyTorch keeps memory itself.
    """
    global _open_blocks  # noqa: PLW0603  (a process has one allocator)
    libc = _glibc() if device.type == "cpu" else None
    if libc is None:
        yield
        return
    with _lock:
        _open_blocks += 1
        for parameter in _USUAL:
            libc.mallopt(parameter, _NEVER)
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            if _open_blocks == 0:
                for parameter, value in _USUAL.items():
                    libc.mallopt(parameter, value)
                libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    # other C libraries have neither
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
