"""A Kedro runner that sends nodes to the workers of a Dask cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import kedro.framework.project as kedro_project
from kedro.io import AbstractDataset, AbstractVersionedDataset, DataCatalog, Version
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner, Task
from kedro.utils import find_kedro_project

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.interruptions import explaining_interruptions
from deepfake_detection.runners.node_task import Project, run_node

if TYPE_CHECKING:
    import distributed

log = logging.getLogger(__name__)

# Nodes with this tag take one unit of the resource that the runner was given
TRAINING_TAG = "training"

_CONNECT_SECONDS = 8
_USAGE = "--runner-params address=tcp://HOST:8786"


class DaskRunner(AbstractRunner):
    """Runs each node on a worker of a Dask cluster; `docs/clusters.md` says how to start one.

    Workers load and save what the catalog names, from a disk that all machines share, and call the
    project's hooks for nodes and datasets. Hooks for the run are called here. Outputs without a
    catalog entry travel through this process.

    Dask unpickles what it receives, and so does a worker with a node: whoever reaches the scheduler
    can run code on all machines. Bind it to a private network interface.

    Args:
        address: Of the scheduler, `tcp://HOST:8786`.
        resource: A resource of the workers, such as GPU. Each node with the tag `training` takes
            one unit of it. By default such nodes run anywhere.
        is_async: Whether a node's datasets are loaded and saved in threads.

    Raises:
        UserError: If `distributed` is not installed, `address` is missing, or a name is unknown.
    """

    def __init__(
        self,
        address: str | None = None,
        resource: str | None = None,
        is_async: bool = False,
        **unknown: object,
    ) -> None:
        super().__init__(is_async=is_async)
        if unknown:
            raise UserError(
                f"--runner-params: DaskRunner takes address and resource, not {', '.join(unknown)}"
            )
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise UserError(
                "DaskRunner needs Dask, which is not installed: pip install -c constraints.txt -e "
                "'.[dask]', on all machines"
            ) from None
        if not address:
            raise UserError(f"DaskRunner needs the address of a scheduler: {_USAGE}")
        self._address, self._resource = address, resource

    def _run(self, pipeline: Pipeline, catalog: Any, *args: Any, **kwargs: Any) -> None:
        """Run the pipeline in Kedro's own loop.

        Raises:
            UserError: If the scheduler is not there or lost, no worker has the resource, a node
                cannot be sent or ends its workers, or a node raises it.
            InterruptedWorkError: On Ctrl-C.
            Exception: Any other error of a node, with its traceback on the worker.
        """
        package = kedro_project.PACKAGE_NAME
        self._project = Project(package, find_kedro_project(Path.cwd()) if package else None)
        self._versioned = _settle_versions(pipeline, catalog)
        for node in pipeline.nodes:
            self._pack(Task(node, catalog, self._is_async))
        self._futures: dict[str, distributed.Future] = {}
        # the worker of each node that has started
        self._started: dict[str, str] = {}
        self._failure: Exception | None = None
        self._topic = f"kedro-{uuid4().hex}"
        with _connect(self._address) as self._client:
            self._check_workers(any(map(self._takes_resource, pipeline.nodes)))
            self._client.subscribe_topic(self._topic, self._note_start)
            with explaining_interruptions(self._interrupt):
                super()._run(pipeline, catalog, *args, **kwargs)

    def _get_executor(self, max_workers: int) -> _NodeThreads:  # noqa: ARG002
        return _NodeThreads(self._complete)

    def _complete(self, task: Task) -> Node:
        """Run a node on the cluster, and keep its outputs in memory here.

        Raises:
            Exception: The node's error, or that of the node that has ended the run.
        """
        if self._failure:
            raise self._failure
        name = task.node.name
        future = self._futures[name] = self._client.submit(
            run_node,
            self._pack(task),
            self._project,
            name,
            self._topic,
            # Dask expects keys that begin alike to take alike long
            key=f"{name.rsplit('.', 1)[-1]}-{uuid4().hex}",
            resources={self._resource: 1} if self._takes_resource(task.node) else None,
            pure=False,
        )
        try:
            outputs = self._result_of(name, future)
        except Exception as error:
            self._stop(name, error)
            raise
        for output, value in outputs.items():
            task.catalog.save(output, value)
        del self._futures[name]
        return task.node

    def _result_of(self, name: str, future: distributed.Future) -> dict[str, Any]:
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker

        try:
            return dict(future.result())
        except KilledWorker as error:
            raise UserError(
                f"node '{name}' was given to {error.allowed_failures + 1} workers, and each ended "
                f"while it ran (the last was {error.last_worker.address}). Their own output may "
                "say why; often it is memory, or Dask's limit to it (--memory-limit 0 sets none)"
            ) from None
        except ModuleNotFoundError as error:
            if name in self._started:
                raise
            raise UserError(
                f"a worker cannot run node '{name}' ({error}): install the project and what it "
                "needs where the workers are started"
            ) from None
        except CancelledError:
            raise self._failure or UserError(
                f"the connection to the Dask scheduler at {self._address} was lost, and this run "
                "with it. Saved results are kept: the same command goes on with unfinished "
                "trainings"
            ) from None

    def _stop(self, failed: str, error: Exception) -> None:
        """Once a node has failed: start no others, and let those finish that are running."""
        del self._futures[failed]
        if self._failure:
            return
        self._failure = error
        waiting = [each for name, each in self._futures.items() if name not in self._started]
        self._client.cancel(waiting)
        if running := self._list_running():
            log.warning(
                "%s failed (%s), so no other nodes start. These finish, since their results are "
                "kept (Ctrl-C ends them): %s",
                failed, first_line(error), running,
            )  # fmt: skip

    def _interrupt(self) -> str:
        """End the nodes that are running, with their workers' processes; what is said of it."""
        running, futures = self._list_running(), list(self._futures.values())
        self._failure = self._failure or UserError("the run was interrupted")
        keys = {future.key for future in futures}
        # fails if the scheduler is lost
        with suppress(OSError):
            busy = [at for at, tasks in self._client.processing().items() if keys & set(tasks)]
            # first, since Dask gives a lost worker's nodes to others
            self._client.cancel(futures)
            if busy:
                log.warning("Interrupted: ending %s", running)
                # nothing else ends a thread; the worker's nanny starts its process anew
                self._client.run(os._exit, 1, workers=busy, on_error="ignore")
        return (
            f"the run was interrupted; ended: {running or 'nothing'}. Checkpoints are kept: the "
            "same command goes on with unfinished trainings"
        )

    # ------------------------------------------------------------ workers

    def _takes_resource(self, node: Node) -> bool:
        return self._resource is not None and TRAINING_TAG in node.tags

    def _check_workers(self, needs_resource: bool) -> None:
        how = f"dask worker {self._address} --nthreads 1 --memory-limit 0"
        workers = self._client.scheduler_info()["workers"].values()
        if not workers:
            log.warning("No workers at %s yet: waiting for some (%s)", self._address, how)
        elif needs_resource and not any(self._resource in each["resources"] for each in workers):
            raise UserError(
                f"no worker at {self._address} has the resource '{self._resource}' that nodes with "
                f"the tag '{TRAINING_TAG}' take. Start workers with it ({how} --resources "
                f"{self._resource}=1), or leave resource out of --runner-params"
            )

    def _note_start(self, event: tuple[float, Mapping[str, str]]) -> None:
        name, worker = event[1]["node"], event[1]["worker"]
        if name in self._started:
            log.warning("%s was lost on %s and starts again", name, self._started[name])
        self._started[name] = worker
        log.info("%s on %s", name, worker)

    def _list_running(self) -> str:
        running = sorted(self._futures.keys() & self._started.keys())
        return ", ".join(f"{name} on {self._started[name]}" for name in running)

    def _pack(self, task: Task) -> bytes:
        """A task with its node's datasets, and what they hold in memory.

        Raises:
            UserError: If it cannot be packed.
        """
        import cloudpickle

        node = task.node
        datasets = {
            name: self._versioned.get(name) or task.catalog[name]
            for name in {*node.inputs, *node.outputs}
        }
        try:
            return bytes(
                cloudpickle.dumps(
                    Task(node, DataCatalog(datasets), task.is_async, run_id=task.run_id)
                )
            )
        # whatever an object's own way of being pickled raises
        except Exception as error:
            raise UserError(
                f"node '{node.name}' cannot be sent to another machine ({error}): neither its "
                "function nor its datasets may hold open files, locks or connections"
            ) from error


class _NodeThreads(ThreadPoolExecutor):
    """Calls a function with each of Kedro's tasks, in a thread that waits for the cluster."""

    def __init__(self, complete: Callable[[Task], Node]) -> None:
        # Dask decides how many nodes run at a time
        super().__init__(max_workers=10_000)
        self._complete = complete

    def submit(self, task: Any, /, *_: Any, **__: Any) -> Future[Any]:
        return super().submit(self._complete, task)

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        # after Ctrl-C, DaskRunner ends what is running
        self.shutdown(wait=kind is None or issubclass(kind, Exception))


@contextmanager
def _connect(address: str) -> Iterator[distributed.Client]:
    """A client of the scheduler, which logs nothing by itself.

    Raises:
        UserError: If the scheduler cannot be reached.
    """
    from distributed import Client
    from distributed.comm import get_address_host_port

    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        # a client that fails takes long to end, and prints a traceback then
        socket.create_connection(get_address_host_port(address), _CONNECT_SECONDS).close()
        client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False, name="kedro")
    # what is no address, or something else that answers there, leads to any kind of error
    except Exception as error:
        raise UserError(
            f"there is no Dask scheduler at {address} ({first_line(error)}). Start one (dask "
            f"scheduler), or give the address that it says when it starts: {_USAGE}"
        ) from error
    try:
        yield client
    finally:
        client.close(timeout=2)


def _settle_versions(
    pipeline: Pipeline, catalog: DataCatalog
) -> dict[str, AbstractDataset[Any, Any]]:
    """Copies of the versioned datasets that load and save one version each.

    Another run could save a version in between, and a shared disk may show new files late.
    """
    _, _, given, save = catalog.to_config()
    # entries of the same file differ in what follows @
    made = {name.split("@")[0] for name in pipeline.all_outputs()}
    settled = {}
    for name in pipeline.datasets():
        dataset = catalog[name]
        if isinstance(dataset, AbstractVersionedDataset) and dataset.resolve_save_version():
            save = save or dataset.resolve_save_version()
            latest = [save] if name.split("@")[0] in made else dataset.list_versions(False)
            load = given.get(name) or next(iter(latest), None)
            settled[name] = catalog.get(name, version=Version(load, save))
    return settled
