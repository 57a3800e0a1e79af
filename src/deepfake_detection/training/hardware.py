"""What a training computes on: devices, and the processes that train one network together."""

from dataclasses import dataclass

import joblib
import torch
import torch.distributed as dist
from torch import Tensor, nn

from deepfake_detection.errors import UserError
from deepfake_detection.models.devices import choose_device, choose_precision
from deepfake_detection.parameters import TrainingParameters


@dataclass(frozen=True)
class Hardware:
    """Device (cuda, cuda:1, mps, cpu), processes, precision (fp32, bf16), threads of each."""

    device: str
    processes: int
    precision: str
    threads: int

    def __str__(self) -> str:
        device = torch.device(self.device)
        here = device.type == "cuda" and torch.cuda.is_available()
        name = torch.cuda.get_device_name(device) if here else self.device
        processes = f", {self.processes} processes" if self.processes > 1 else ""
        threads = f", {self.threads} thread(s)" if device.type == "cpu" else ""
        return f"{name}{processes}{threads}, {self.precision}"


def choose_hardware(training: TrainingParameters) -> Hardware:
    """Resolve `auto` and `all` on this machine; UserError if it lacks what is asked for."""
    device, processes = choose_device(training.device), training.devices
    if not isinstance(processes, int):
        processes = _count(device) if device.type == "cuda" else 1
    precision = choose_precision(training.precision, device, "training.precision")
    threads = max(1, torch.get_num_threads() // processes)
    return check_hardware(Hardware(str(device), processes, precision, threads))


def check_hardware(hardware: Hardware) -> Hardware:
    """The same; UserError if this machine lacks the device, enough of them, or its precision."""
    device = choose_device(hardware.device)
    count = _count(device)
    if hardware.processes > count:
        raise UserError(
            f"parameter 'training.devices' is {hardware.processes}, and this machine has {count} "
            f"{'CPU cores' if device.type == 'cpu' else 'devices of this kind'}: give fewer, or all"
        )
    choose_precision(hardware.precision, device, "training.precision")
    return hardware


def _count(device: torch.device) -> int:
    if device.type == "cuda" and device.index is None:
        return torch.cuda.device_count()
    return int(joblib.cpu_count()) if device.type == "cpu" else 1


@dataclass(frozen=True)
class Processes:
    """One of the processes that train together; rank 0 logs, and keeps weights and checkpoints."""

    device: torch.device
    rank: int = 0
    count: int = 1

    def part(self, batch: Tensor) -> Tensor:
        """This process's part of a batch."""
        return batch[self.rank :: self.count]

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def wrap(self, network: nn.Module) -> nn.Module:
        """Average gradients over all processes, and batch statistics: PyTorch, on GPUs only."""
        if self.count == 1:
            return network
        devices = None
        if self.device.type == "cuda":
            network, devices = nn.SyncBatchNorm.convert_sync_batchnorm(network), [self.device]
        return nn.parallel.DistributedDataParallel(network, devices, broadcast_buffers=False)

    def average_buffers(self, network: nn.Module) -> None:
        """Average running statistics over all processes."""
        for buffer in network.buffers():
            if self.count > 1 and buffer.is_floating_point():
                self.all_reduce(buffer).div_(self.count)
