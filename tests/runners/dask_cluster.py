"""Clusters of real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed import Client


@dataclass(frozen=True)
class Cluster:
    """A client that talks to the scheduler beside the runner's, and the folder of the logs."""

    client: Client
    folder: Path
    scheduler: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        return str(self.client.scheduler.address)

    def processes(self) -> dict[str, int]:
        """The process of each worker, by its address."""
        return self.client.run(os.getpid)

    def logs(self) -> str:
        """What the workers have said so far."""
        return "".join(path.read_text() for path in self.folder.glob("worker*.log"))


@contextmanager
def start_cluster(folder: Path, workers: int) -> Iterator[Cluster]:
    """Start a scheduler and workers with one unit of GPU each, and end them."""
    found = folder / "scheduler.json"
    shared = ["--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(found)]
    worker = ["worker", *shared, "--nthreads", "1", "--memory-limit", "0", "--resources", "GPU=1"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        # two workers that end are enough
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        "HOOK_NOTES": str(folder / "hook_notes"),
        "OMP_NUM_THREADS": "1",
        # on generated faces, processes take longer to start than to decode
        "LOKY_MAX_CPU_COUNT": "1",
    }
    started = {}
    for name, arguments in {
        "scheduler": ["scheduler", *shared, "--port", "0"],
        **{
            f"worker{n}": [*worker, "--local-directory", str(folder / str(n))]
            for n in range(workers)
        },
    }.items():
        with (folder / f"{name}.log").open("w") as log:
            started[name] = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                cwd=folder, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
    try:
        # waits until the file is there
        with Client(scheduler_file=str(found), set_as_default=False) as client:
            yield Cluster(client, folder, started["scheduler"])
    finally:
        # the scheduler last: workers that miss it take seconds to give up
        for process in reversed(started.values()):
            process.terminate()
        for process in reversed(started.values()):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
