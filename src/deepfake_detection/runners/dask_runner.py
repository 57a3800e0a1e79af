"""A Kedro runner that sends nodes to the workers of a Dask cluster."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

import kedro.framework.project as kedro_project
from kedro.framework.hooks.markers import HOOK_NAMESPACE
from kedro.framework.hooks.specs import DatasetSpecs, NodeSpecs
from kedro.io import AbstractVersionedDataset, DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro.runner import AbstractRunner, Task
from kedro.utils import find_kedro_project
from pluggy import PluginManager

from deepfake_detection.errors import UserError, first_line, user_error_behind
from deepfake_detection.interruptions import explaining_interruptions

if TYPE_CHECKING:
    import distributed

log = logging.getLogger(__name__)

# Nodes with this tag take one unit of the resource that the runner was given
TRAINING_TAG = "training"

_CONNECT_SECONDS = 8
_USAGE = "--runner-params address=tcp://HOST:8786"


class DaskRunner(AbstractRunner):
    """Runs each node on a worker of a Dask cluster; `docs/clusters.md` says how to start one.

    Workers load and save what the catalog names, and call the project's hooks for nodes and
    datasets. Hooks for the run are called here. Outputs without a catalog entry pass through here.

    Dask and this runner unpickle what they receive: whoever reaches the scheduler can run code on
    all machines. Bind it to a private network interface.

    Args:
        address: Of the scheduler, `tcp://HOST:8786`.
        resource: A resource of the workers, such as GPU; nodes with the tag `training` take one
            unit of it each. By default they run anywhere.
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
            UserError: If there is no scheduler, it is lost, no worker has the resource, or a node
                cannot be sent or ends its workers.
            InterruptedWorkError: On Ctrl-C.
            Exception: The first error of a node, with its traceback on the worker.
        """
        self._package = kedro_project.PACKAGE_NAME
        self._folder = find_kedro_project(Path.cwd()) if self._package else None
        self._versioned = _settle_versions(pipeline, catalog)
        for node in pipeline.nodes:
            self._pack(Task(node, catalog, self._is_async))
        self._futures: dict[str, distributed.Future] = {}
        # the worker of each node that has started
        self._started: dict[str, str] = {}
        self._failure: Exception | None = None
        self._topic = f"kedro-{uuid4().hex}"
        with _connect(self._address) as self._client:
            self._check_workers(pipeline)
            self._client.subscribe_topic(self._topic, self._note_start)
            with explaining_interruptions(self._interrupt):
                super()._run(pipeline, catalog, *args, **kwargs)

    def _get_executor(self, max_workers: int) -> _NodeThreads:  # noqa: ARG002
        return _NodeThreads(self._complete)

    def _complete(self, task: Task) -> Node:
        """Run a node on the cluster, and keep here what it does not save; or raise its error."""
        from distributed.scheduler import KilledWorker

        if self._failure:
            raise self._failure
        name = task.node.name
        future = self._futures[name] = self._client.submit(
            run_node,
            self._pack(task),
            self._package,
            self._folder,
            name,
            self._topic,
            # Dask expects keys that begin alike to take alike long
            key=f"{name.rsplit('.', 1)[-1]}-{uuid4().hex}",
            resources={self._resource: 1} if self._takes_resource(task.node) else None,
            pure=False,
        )
        try:
            outputs = future.result()
        except Exception as error:
            # Dask blames a node, too, that only waited on workers that were lost
            if isinstance(error, KilledWorker) and name not in self._started:
                return self._complete(task)
            self._fail(name, error)
        for output, value in outputs.items():
            task.catalog.save(output, value)
        del self._futures[name]
        return task.node

    def _fail(self, name: str, error: Exception) -> NoReturn:
        """Once a node has failed, start no others; hours may be in those that are running."""
        from distributed import CancelledError
        from distributed.scheduler import KilledWorker

        if isinstance(error, CancelledError) or self._client.status != "running":
            error = self._failure or UserError(
                f"the connection to the Dask scheduler at {self._address} was lost, and this run "
                "with it. Saved results are kept, and so are the checkpoints of trainings"
            )
        elif isinstance(error, KilledWorker):
            error = UserError(
                f"node '{name}' was given to {error.allowed_failures + 1} workers, and each ended "
                f"while it ran (the last was {error.last_worker.address}). Their own output may "
                "say why; often it is memory, or Dask's limit to it (--memory-limit 0 sets none)"
            )
        else:
            error.add_note(f"In node '{name}' on {self._started.get(name, 'a worker')}")
            error = user_error_behind(error) or error
        del self._futures[name]
        if not self._failure:
            self._failure = error
            others = list(self._futures.items())
            self._client.cancel([future for each, future in others if each not in self._started])
            if running := ", ".join(self._running()):
                log.warning("%s failed: no other nodes start. Still running: %s", name, running)
        raise error

    def _interrupt(self) -> str:
        """End the processes of the workers that run nodes; what there is to say about it."""
        running = self._running()
        self._failure = self._failure or UserError("the run was interrupted")
        # the scheduler may be lost
        with suppress(OSError):
            # first, since Dask gives a lost worker's nodes to others
            self._client.cancel(list(self._futures.values()))
            # nothing else ends a thread; the worker's nanny starts its process anew
            self._client.run(os._exit, 1, workers=list(running.values()), on_error="ignore")
        ended = ", ".join(f"{name} on {worker}" for name, worker in running.items())
        return (
            f"the run was interrupted; ended: {ended or 'nothing'}. Checkpoints are kept: the same "
            "command goes on with unfinished trainings"
        )

    def _takes_resource(self, node: Node) -> bool:
        return self._resource is not None and TRAINING_TAG in node.tags

    def _check_workers(self, pipeline: Pipeline) -> None:
        """Raise a UserError if no worker has the resource, and warn if there are no workers yet."""
        how = f"dask worker {self._address} --nthreads 1 --memory-limit 0"
        workers = self._client.scheduler_info()["workers"].values()
        if not workers:
            log.warning("No workers at %s yet: waiting for some (%s)", self._address, how)
        elif any(map(self._takes_resource, pipeline.nodes)) and not any(
            each["resources"].get(self._resource, 0) >= 1 for each in workers
        ):
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

    def _running(self) -> dict[str, str]:
        """The worker of each node that is running."""
        return {name: self._started[name] for name in list(self._futures) if name in self._started}

    def _pack(self, task: Task) -> bytes:
        """A task as bytes, with its node's datasets and what they hold in memory."""
        import cloudpickle

        names = {*task.node.inputs, *task.node.outputs}
        catalog = DataCatalog({n: self._versioned.get(n) or task.catalog[n] for n in names})
        try:
            packed = Task(task.node, catalog, task.is_async, run_id=task.run_id)
            return bytes(cloudpickle.dumps(packed))
        # whatever an object's own way of being pickled raises
        except Exception as error:
            raise UserError(
                f"node '{task.node.name}' cannot be sent to another machine ({error}): neither its "
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


def _connect(address: str) -> distributed.Client:
    """A client of the scheduler, which logs nothing itself; a UserError if it is not there."""
    import dask
    from distributed import Client
    from distributed.comm import get_address_host_port

    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # that of nodes that hand on weights in memory
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"})
    try:
        # a client that fails takes long to end, and prints a traceback then
        socket.create_connection(get_address_host_port(address), _CONNECT_SECONDS).close()
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False, name="kedro")
    # what is no address, or something else that answers there, leads to any kind of error
    except Exception as error:
        raise UserError(
            f"there is no Dask scheduler at {address} ({first_line(error)}). Start one (dask "
            f"scheduler), or give the address that it says when it starts: {_USAGE}"
        ) from error


def _settle_versions(pipeline: Pipeline, catalog: DataCatalog) -> dict[str, Any]:
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


def run_node(
    packed: bytes, package: str | None, folder: Path | None, name: str, topic: str
) -> dict[str, Any]:
    """Run a node on this worker; its outputs without a catalog entry, by name.

    Args:
        packed: A Kedro task. Unpacked here and not by Dask, since imports take seconds.
        package: The project's package; None outside a project, as `folder`.
        folder: The project's folder.
        name: Of the node.
        topic: Of the event that says where the node runs.

    Raises:
        UserError: If the project's folder is not on this machine.
        Exception: Any error of the node.
    """
    import cloudpickle
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, {"node": name, "worker": worker.address})
    if folder and not folder.is_dir():
        raise UserError(
            f"there is no folder {folder} on the machine of {worker.address}. The project, its "
            "data included, must be on a disk that all machines share, at the same path"
        )
    hooks = _make_hooks(package)
    task = cloudpickle.loads(packed)
    task.hook_manager = hooks
    outputs = {output: task.catalog[output] for output in task.node.outputs}
    for dataset in outputs.values():
        _remove_leftover(dataset)
    task.execute()
    return {name: each.load() for name, each in outputs.items() if isinstance(each, MemoryDataset)}


def _make_hooks(package: str | None) -> PluginManager:
    """The project's hooks. Those of plugins expect a session, which a worker does not have."""
    hooks = PluginManager(HOOK_NAMESPACE)
    hooks.add_hookspecs(NodeSpecs)
    hooks.add_hookspecs(DatasetSpecs)
    if package:
        if package != kedro_project.PACKAGE_NAME:
            kedro_project.configure_project(package)
        for each in kedro_project.settings.HOOKS:
            hooks.register(each)
    return hooks


def _remove_leftover(dataset: Any) -> None:
    """Remove what a lost worker saved under this run's version: Kedro overwrites no version."""
    if isinstance(dataset, AbstractVersionedDataset) and dataset.resolve_save_version():
        for path in map(Path, dataset.list_versions()):
            if path.parent.name == dataset.resolve_save_version():
                log.warning("Replacing %s: the worker that wrote it was lost", path)
                shutil.rmtree(path.parent)
