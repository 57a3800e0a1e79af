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
        name = torch.cuda.get_device_name(self.device) if "cuda" in self.device else self.device
        return f"{name}, {self.precision}, processes: {self.processes}, threads: {self.threads}"


def choose_hardware(training: TrainingParameters) -> Hardware:
    """Resolve `auto` and `all` on this machine; UserError if it lacks what is asked for."""
    device, processes = choose_device(training.device), training.devices
    # a GPU that is named by its number is one device
    there = {"cpu": joblib.cpu_count(), "cuda": torch.cuda.device_count()}.get(str(device), 1)
    if processes == "all":
        processes = there if device.type == "cuda" else 1
    if processes > there:
        raise UserError(
            f"parameter 'training.devices' is {processes}: give a smaller number. This machine has "
            f"{there} {'CPU cores' if device.type == 'cpu' else 'devices of this kind'}"
        )
    precision = choose_precision(training.precision, device, "training.precision")
    return Hardware(str(device), processes, precision, max(1, torch.get_num_threads() // processes))


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
