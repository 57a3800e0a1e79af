"""The processes that train one network together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Processes:
    """This process (its rank from 0, its device) among those that train together."""

    rank: int
    count: int
    device: torch.device

    @classmethod
    def alone(cls, device: torch.device) -> Processes:
        """A single process."""
        return cls(0, 1, device)

    @property
    def is_main(self) -> bool:
        """Whether this process keeps weights and checkpoints, and logs."""
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """This process's part of a batch."""
        return batch[self.rank :: self.count]

    def all_reduce(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def wrap(self, network: nn.Module) -> nn.Module:
        """Average gradients over all processes."""
        if self.count == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, devices, broadcast_buffers=False)

    def synchronise_batch_norm(self, network: nn.Module) -> nn.Module:
        """Normalise over the batch of all processes; PyTorch does so on GPUs only."""
        if self.count == 1 or self.device.type != "cuda":
            return network
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)

    def average_buffers(self, network: nn.Module) -> None:
        """Average running statistics over all processes."""
        for buffer in network.buffers():
            if self.count > 1 and buffer.is_floating_point():
                self.all_reduce(buffer).div_(self.count)
