"""What a training computes on: devices, precision, threads."""

from __future__ import annotations

from dataclasses import dataclass

import joblib
import torch

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.models.devices import choose_device, choose_precision
from deepfake_detection.parameters import TrainingParameters


@dataclass(frozen=True)
class Hardware:
    """What a training computes on; what `auto` chose is written out.

    Attributes:
        device: cpu, mps, cuda, cuda:1 …
        processes: On this machine, one for each of its devices that take part.
        machines: That take part.
        precision: fp32; or bf16, where the network computes in it and weights stay in fp32.
        threads: Of each process, on a CPU.
    """

    device: str
    processes: int
    machines: int
    precision: str
    threads: int

    @property
    def alone(self) -> bool:
        """Whether one process does it all."""
        return self.processes == self.machines == 1

    def __str__(self) -> str:
        name, kind = self.device, torch.device(self.device).type
        if kind == "cuda" and torch.cuda.is_available():
            name = torch.cuda.get_device_name(torch.device(self.device))
        parts = [name]
        if self.processes > 1:
            parts.append(f"{self.processes} processes")
        if self.machines > 1:
            parts.append(f"{self.machines} machines")
        if kind == "cpu":
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        return ", ".join([*parts, self.precision])


def choose_hardware(training: TrainingParameters) -> Hardware:
    """What the parameters device, devices, precision and machines come to on this machine.

    Raises:
        UserError: If it lacks what they ask for.
    """
    device = choose_device(training.device)
    processes = count_processes(training.devices, device)
    threads = max(1, torch.get_num_threads() // processes)
    precision = choose_precision(training.precision, device, "training.precision")
    hardware = Hardware(str(device), processes, 1, precision, threads)
    check_hardware(hardware)
    return hardware


def check_hardware(hardware: Hardware) -> None:
    """Check that this machine has what a training wants to compute on.

    Raises:
        UserError: Naming the parameter.
    """
    device = choose_device(hardware.device)
    there = _devices_there(device)
    if hardware.processes > there:
        what = {"cpu": "CPU cores for a process each", "cuda": "GPUs"}.get(device.type, "device")
        raise UserError(
            f"parameter 'training.devices' asks for {hardware.processes}, and this machine has "
            f"{there} {what}. all takes every GPU, or one process on a CPU."
        )
    choose_precision(hardware.precision, device, "training.precision")


def count_processes(devices: str | int, device: torch.device) -> int:
    """Processes that `devices` comes to: `all` takes every GPU, or one process on a CPU."""
    if devices != "all":
        return int(devices)
    return _devices_there(device) if device.type == "cuda" else 1


def _devices_there(device: torch.device) -> int:
    if device.type == "cuda":
        # one that is named by its number stands for itself
        return 1 if device.index is not None else torch.cuda.device_count()
    return int(joblib.cpu_count()) if device.type == "cpu" else 1


def check_compiler(device: torch.device) -> None:
    """Check that torch.compile works here, by compiling next to nothing.

    Raises:
        UserError: With the reason, as a missing C++ compiler.
    """
    try:
        torch.compile(_next_to_nothing)(torch.ones(8, device=device))
    # whatever goes wrong inside the compiler
    except Exception as error:
        raise UserError(
            f"parameter 'training.compile': torch.compile does not work here "
            f"({first_line(error)}). On a CPU it needs a C++ compiler, as g++, on a GPU triton. "
            "Set training.compile=false."
        ) from error


def _next_to_nothing(values: torch.Tensor) -> torch.Tensor:
    return values.sin() + 1
