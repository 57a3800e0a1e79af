"""Which device computes, and in what precision."""

import torch

from deepfake_detection.errors import UserError


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` takes cuda, then mps, then cpu.

    Raises:
        UserError: If this machine has no such device.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    device = torch.device(name)
    cuda = cuda and (device.index or 0) < torch.cuda.device_count()
    there = {"cpu": True, "mps": mps, "cuda": cuda}
    if not there[device.type]:
        available = ["cpu", *(["mps"] if mps else [])]
        available += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        raise UserError(
            f"parameter 'device': this machine has no {name}, it has {', '.join(available)}. "
            "auto takes the best there is."
        )
    return device


def choose_precision(name: str, device: torch.device, parameter: str) -> str:
    """The precision of this name; `auto` takes bf16 where the device is faster in it, else fp32.

    Args:
        name: auto, fp32 or bf16.
        device: That computes.
        parameter: What the name was given as, for the message.

    Raises:
        UserError: If the device has no units for bf16.
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
    """Whether a device has matrix units for bf16."""
    # Apple's GPUs have no such units: it spares them memory, not time
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
