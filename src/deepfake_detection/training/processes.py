"""Several processes that train one network together, and the one process that trains alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# To hold batch statistics of all processes together, PyTorch has layers for GPUs only
_SYNCHRONISED_ON = ("cuda",)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Its number.
        count: How many there are.
        keeper: The rank of the one that keeps weights and states, and logs.
        device: That it computes on.
    """

    rank: int
    count: int
    keeper: int
    device: torch.device

    @classmethod
    def alone(cls, device: torch.device) -> Processes:
        """One process that does it all."""
        return cls(0, 1, 0, device)

    @property
    def keeps(self) -> bool:
        """Whether this is the keeper."""
        return self.rank == self.keeper

    def part(self, batch: Tensor) -> Tensor:
        """This process's part of a batch."""
        return batch[self.rank :: self.count]

    def add_up(self, values: Tensor) -> Tensor:
        """Sums over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def wrap(self, network: nn.Module) -> nn.Module:
        """A network whose gradients are the means over all processes."""
        if self.count == 1:
            return network
        on_gpu = self.device.type == "cuda"
        return nn.parallel.DistributedDataParallel(
            network, device_ids=[self.device] if on_gpu else None, broadcast_buffers=False
        )

    def synchronise_batch_norm(self, network: nn.Module) -> nn.Module:
        """Make batch normalisation count the batch of all processes, on GPUs."""
        if self.count == 1 or self.device.type not in _SYNCHRONISED_ON:
            return network
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)

    def average_buffers(self, network: nn.Module) -> None:
        """Give all processes the mean of their running statistics."""
        if self.count == 1:
            return
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer.div_(self.count)

    def spread(self, value: Any) -> Any:
        """The keeper's value, of plain ones and tensors on the CPU, in all processes."""
        if self.count == 1:
            return value
        packed = io.BytesIO()
        if self.keeps:
            torch.save(value, packed)
        size = torch.tensor([len(packed.getbuffer())])
        dist.broadcast(size, self.keeper)
        content = torch.empty(int(size), dtype=torch.uint8)
        if self.keeps:
            content = torch.frombuffer(packed.getbuffer(), dtype=torch.uint8)
        dist.broadcast(content, self.keeper)
        if self.keeps:
            return value
        return torch.load(io.BytesIO(content.numpy().tobytes()), weights_only=True)


@contextmanager
def joined(device: torch.device, *, keeps: bool) -> Iterator[Processes]:
    """Join the other processes, as elastic launch's environment variables say, and leave them."""
    # the CPU's too: what is spread comes from there
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend)
    try:
        keepers = torch.zeros(dist.get_world_size(), dtype=torch.long)
        keepers[dist.get_rank()] = keeps
        dist.all_reduce(keepers)
        keeper = int(keepers.argmax())
        yield Processes(dist.get_rank(), dist.get_world_size(), keeper, device)
    finally:
        dist.destroy_process_group()
