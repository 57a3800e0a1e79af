"""Which device computes."""

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
