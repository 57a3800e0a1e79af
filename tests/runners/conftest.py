"""A scheduler and two workers of Dask, in real processes on this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from dask_cluster import Cluster
from distributed import Client


@pytest.fixture
def cluster(started_cluster: Cluster) -> Cluster:
    """The cluster with both workers: a test before may have ended one, which Dask starts again."""
    started_cluster.client.wait_for_workers(2, timeout=60)
    return started_cluster


@pytest.fixture(scope="session")
def started_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
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
    started: list[subprocess.Popen[bytes]] = []
    for name, arguments in (
        ("scheduler", ["scheduler", *shared, "--port", "0"]),
        ("worker1", [*worker, "--local-directory", str(folder / "1")]),
        ("worker2", [*worker, "--local-directory", str(folder / "2")]),
    ):
        with (folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                cwd=folder, stdout=log, stderr=log, env=environment,
            )  # fmt: skip
        started.append(process)
    try:
        # waits until the file is there
        with Client(scheduler_file=str(found), set_as_default=False) as client:
            yield Cluster(client, folder)
    finally:
        # the scheduler last: workers that miss it take seconds to give up
        scheduler, *workers = started
        for processes in (workers, [scheduler]):
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
