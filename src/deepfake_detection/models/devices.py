"""Which device computes, in what precision, and how it reuses memory."""

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from deepfake_detection.errors import UserError

# Parameters of glibc's mallopt(3), and the values up to which glibc raises them by itself
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_USUAL = {_MMAP_THRESHOLD: 32 * 2**20, _TRIM_THRESHOLD: 64 * 2**20}
_NEVER = 2**31 - 1

# Blocks that are open at the moment, nested or in threads: they share the process's memory
_open_blocks = 0
_lock = threading.Lock()


def choose_device(name: str) -> torch.device:
    """The device of this name; a UserError if it is not here. `auto`: cuda, then mps, then cpu."""
    # a GPU whose driver is too old is counted, though it is not available
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if gpus else "mps" if mps else "cpu")
    device = torch.device(name)
    there = {"cpu": True, "mps": mps, "cuda": (device.index or 0) < gpus}
    if not there[device.type]:
        available = ["cpu", *(["mps"] if mps else []), *(f"cuda:{each}" for each in range(gpus))]
        raise UserError(
            f"parameter 'device': this machine has no {name}, it has {', '.join(available)}. "
            "auto takes the best there is."
        )
    return device


def use_ieee_float32(device: torch.device) -> None:
    """On a GPU, compute float32 as IEEE 754 says: PyTorch rounds convolutions to TF32 by default.

    To be called before a network computes. The switch holds for the whole process and is never set
    back, so that training, scores and heat maps agree in whatever thread they run.
    """
    if device.type == "cuda":
        # not fp32_precision, the newer switch: torch.compile reads this one, and may not mix them
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def choose_precision(name: str, device: torch.device, parameter: str) -> str:
    """The precision of this name; `auto` takes bf16 where the device is faster in it, else fp32.

    A UserError that names `parameter` says that the device has no units for bf16.
    """
    if name == "auto":
        return "bf16" if computes_faster_in_bf16(device) else "fp32"
    if name == "bf16" and not _has_bf16(device):
        raise UserError(
            f"parameter '{parameter}': {_name(device)} has no units for bf16, and would "
            "compute many times slower than in fp32. auto takes what the device is faster with."
        )
    return name


def computes_faster_in_bf16(device: torch.device) -> bool:
    """Whether a device has matrix units for bf16. Apple's GPUs save memory with it, not time."""
    return device.type != "mps" and _has_bf16(device)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return True
    there = torch.cpu.get_capabilities()
    return any(there.get(units, False) for units in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return str(torch.cpu.get_capabilities().get("cpu_name", "this CPU"))


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
