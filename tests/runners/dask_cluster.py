"""What tests know of a cluster."""

import os
from dataclasses import dataclass
from pathlib import Path

from distributed import Client


@dataclass(frozen=True)
class Cluster:
    """A client that talks to the scheduler beside the runner, and the folder of the logs."""

    client: Client
    folder: Path

    @property
    def address(self) -> str:
        return str(self.client.scheduler.address)

    def process_of(self, worker: str) -> int:
        """The process of the worker at an address."""
        return self.client.run(os.getpid, workers=[worker])[worker]

    def logs(self) -> list[str]:
        """What each worker has said so far."""
        return [path.read_text() for path in self.folder.glob("worker*.log")]
