"""Clusters of real processes on this machine."""

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from distributed import Client


@dataclass(frozen=True)
class Cluster:
    """A client beside the runner's, the folder in which all runs, and the scheduler's process."""

    client: Client
    folder: Path
    scheduler: subprocess.Popen[bytes]

    @property
    def address(self):
        return str(self.client.scheduler.address)

    def processes(self):
        """The process of each worker, by its address."""
        return self.client.run(os.getpid, on_error="ignore")


@contextmanager
def start_cluster(folder, workers):
    """Start a scheduler and workers with one unit of GPU each, and end them."""
    found = folder / "scheduler.json"
    shared = ["--no-dashboard", "--host", "127.0.0.1", "--scheduler-file", str(found)]
    worker = ["worker", *shared, "--nthreads", "1", "--memory-limit", "0", "--resources", "GPU=1"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
        # two workers that end are enough
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
        "OMP_NUM_THREADS": "1",
        # on generated faces, processes take longer to start than to decode
        "LOKY_MAX_CPU_COUNT": "1",
    }
    commands = [["scheduler", *shared, "--port", "0"], *[worker] * workers]
    # ended in reverse: workers that miss their scheduler take seconds to give up
    with ExitStack() as ends:
        started = []
        for number, arguments in enumerate(commands):
            log = ends.enter_context((folder / f"{number}.log").open("w"))
            command = [sys.executable, "-m", "dask", *arguments]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
            ends.callback(process.kill)
            ends.callback(process.wait, timeout=30)
            ends.callback(process.terminate)
            started.append(process)
        # waits until the file is there
        with Client(scheduler_file=str(found), set_as_default=False) as client:
            yield Cluster(client, folder, started[0])
