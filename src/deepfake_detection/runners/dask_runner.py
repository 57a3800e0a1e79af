"""Nodes over machines: a Kedro runner that sends them to a Dask cluster."""

from __future__ import annotations

import asyncio
import copy
import logging
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

from kedro.io import AbstractDataset, AbstractVersionedDataset, CatalogProtocol, Version
from kedro.io.core import VersionNotFoundError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import AbstractRunner
from kedro.utils import find_kedro_project

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.runners.node_job import (
    NodeJob,
    Project,
    interrupt_nodes,
    is_in_memory,
    run_node,
)

if TYPE_CHECKING:
    from distributed import Client, Future
    from pluggy import PluginManager

log = logging.getLogger(__name__)

# The tag of nodes that train: each takes one of the resource that the runner was given
TRAINING_TAG = "training"

_CONNECT_SECONDS = 8.0
# How often the workers are looked at while nothing happens
_POLL_SECONDS = 1.0
# How long interrupted nodes may take to end: a step of training, on a CPU, and its clearing up
_INTERRUPT_SECONDS = 60.0
# An interruption is lost where it comes while Python collects garbage or runs a callback
_INTERRUPT_AGAIN_SECONDS = 5.0
_USAGE = "--runner-params address=tcp://HOST:8786"


class SchedulerLostError(UserError):
    """The scheduler was there, and is not any more."""


class RunInterruptedError(UserError):
    """A run over a cluster was interrupted; the message says what became of its nodes."""

    # the shell's for a command that Ctrl-C ended
    exit_code = 128 + signal.SIGINT


class DaskRunner(AbstractRunner):
    """Runs each node on a worker of a Dask cluster; independent nodes at the same time.

    The catalog's files must lie on a disk that this machine and all workers share, at the same
    paths: the worker that runs a node loads its inputs and saves its outputs. What nodes hand on in
    memory stays on the workers and goes from one to the other; parameters travel with the node. The
    project's hooks of nodes and datasets are called on the worker, those of the run here; plugins'
    are called here only, as they expect a session.

    A worker that is lost while it runs a node: Dask gives the node to another, until it has ended
    more workers than the scheduler's `distributed.scheduler.allowed-failures`. An error that a node
    raises is not tried again. Nodes that then run elsewhere are let finish, as hours may be in
    them, and no others are started.

    Ctrl-C, or SIGTERM, ends the nodes that are running: they get a KeyboardInterrupt at their next
    step, so a training keeps its state and the same command goes on from there. If this process
    is killed instead, what is queued on the cluster is dropped, and a node that is running runs to
    its end and saves its files.

    A worker that the scheduler takes for lost though it only cannot be reached goes on with its
    node, while another does the same: files are then written by both.

    Args:
        address: Of the scheduler, `tcp://HOST:8786`.
        resource: A resource of the workers, such as GPU, of which each node with the tag
            `training` takes one; by default such nodes run anywhere.
        is_async: Whether a node's datasets are loaded and saved in threads.

    Raises:
        UserError: If `distributed` is not installed, no address is given, or anything else is.
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
                f"--runner-params: DaskRunner knows address and resource, not {', '.join(unknown)}"
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

    def _get_executor(self, max_workers: int) -> None:
        """None of Kedro's executors: nodes are submitted to the cluster."""

    def _run(
        self,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        hook_manager: PluginManager | None = None,  # noqa: ARG002
        run_id: str | None = None,
    ) -> None:
        """Run the pipeline.

        Raises:
            UserError: If the scheduler cannot be reached or is lost, no worker has the resource, a
                dataset cannot travel, a node ends its workers, or that is what a node raised.
            RunInterruptedError: On Ctrl-C.
            Exception: Any other that a node raised, with its traceback on the worker.
        """
        _check_datasets(pipeline, catalog)
        with _connect(self._address) as client, _interrupted_by_sigterm():
            run = _Run(client, self._address, pipeline, catalog, self._resource)
            run.make_jobs(run_id, self._is_async)
            try:
                run.complete()
            except KeyboardInterrupt:
                run.interrupt()
            except Exception:
                self._suggest_resume_scenario(pipeline, run.done, catalog)
                raise


class _Run:
    """One run: what is to do, in flight, running and done."""

    def __init__(
        self,
        client: Client,
        address: str,
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        resource: str | None,
    ) -> None:
        self._client, self._address, self._resource = client, address, resource
        self._pipeline, self._catalog = pipeline, catalog
        self._nodes = {node.name: node for node in pipeline.nodes}
        self._todo = list(pipeline.nodes)
        self.done: set[Node] = set()
        self._futures: dict[str, Future] = {}
        # the worker of each node that is running
        self._running: dict[str, str] = {}
        self._handed: dict[str, Future] = {}
        self._loads = Counter(name for node in pipeline.nodes for name in node.inputs)
        self._events: SimpleQueue[tuple[str, str, Any]] = SimpleQueue()
        self._topic = f"kedro-{uuid4().hex}"
        self._told: set[str] = set()
        self._stopping = False
        client.subscribe_topic(self._topic, self._on_start)

    def make_jobs(self, run_id: str | None, is_async: bool) -> None:
        """Pack all nodes, so that what cannot be sent is found before anything runs."""
        datasets = _pin_versions(self._pipeline, self._catalog)
        made = self._pipeline.all_outputs()
        for name in made:
            if is_in_memory(datasets[name]):
                datasets[name].release()
        self._project = _describe_project()
        self._jobs = {
            node.name: NodeJob(
                node, {name: datasets[name] for name in {*node.inputs, *node.outputs}},
                run_id, is_async,
            ).pack()
            for node in self._pipeline.nodes
        }  # fmt: skip
        self._makers = {
            name: node.name
            for node in self._pipeline.nodes
            for name in node.outputs
            if is_in_memory(datasets[name])
        }

    # ------------------------------------------------------------ the loop

    def complete(self) -> None:
        """Run all nodes."""
        while self._todo or self._futures:
            self._submit_ready(self._look_at_workers())
            for kind, name, value in self._next_events():
                if kind == "started":
                    self._start(name, value)
                elif error := self._finish(name, value):
                    if not isinstance(error, SchedulerLostError):
                        self._let_others_finish(name, error)
                    raise error

    def _next_events(self) -> Iterator[tuple[str, str, Any]]:
        """What has happened, in order; nothing if that takes long."""
        try:
            yield self._events.get(timeout=_POLL_SECONDS)
            while not self._events.empty():
                yield self._events.get()
        except Empty:
            return

    def _on_start(self, event: tuple[float, Any]) -> None:
        message = event[1]
        self._events.put(("started", message["node"], message["worker"]))

    def _submit_ready(self, workers: Mapping[str, Any]) -> None:
        """Submit what can run now, no more than there is room for.

        What waits in a worker's queue would be blamed with the node that ends this worker.
        """
        depends = self._pipeline.node_dependencies
        for node in list(self._todo):
            if depends[node] <= self.done and self._has_room(node, workers):
                self._todo.remove(node)
                self._submit(node)

    def _has_room(self, node: Node, workers: Mapping[str, Any]) -> bool:
        if len(self._futures) >= sum(each["nthreads"] for each in workers.values()):
            return False
        if not self._takes_resource(node):
            return True
        taken = sum(self._takes_resource(self._nodes[name]) for name in self._futures)
        return taken < sum(int(self._supply(each)) for each in workers.values())

    def _submit(self, node: Node) -> None:
        makers = {self._makers[name] for name in node.inputs if name in self._makers}
        future = self._client.submit(
            run_node,
            self._jobs[node.name],
            self._project,
            self._topic,
            node.name,
            *(self._handed[maker] for maker in sorted(makers)),
            # Dask expects keys that begin alike to take alike long
            key=f"{node.name.rsplit('.', 1)[-1]}-{uuid4().hex}",
            resources={self._resource: 1} if self._takes_resource(node) else None,
            pure=False,
        )
        self._futures[node.name] = future
        future.add_done_callback(lambda done: self._events.put(("ended", node.name, done)))

    # ------------------------------------------------------------ workers

    def _look_at_workers(self) -> Mapping[str, Any]:
        """The workers by address; says which were lost, and what is waited for.

        Raises:
            UserError: If the scheduler is gone, or no worker has the resource at the start.
        """
        try:
            if self._client.status != "running":
                raise _lost_scheduler(self._address)
            # not scheduler_info: what that gives may just have been replaced by one without workers
            scheduler: Any = self._client.scheduler
            identity = self._client.sync(scheduler.identity)
        except OSError as error:
            raise _lost_scheduler(self._address) from error
        workers: Mapping[str, Any] = identity["workers"]
        for name, address in list(self._running.items()):
            if address not in workers:
                self._lose(name)
        if not workers:
            self._tell_once(
                f"There are no workers at {self._address}: waiting for some. To start one: "
                f"dask worker {self._address} --nthreads 1 --memory-limit 0"
            )
        elif any(self._takes_resource(node) for node in self._todo):
            self._check_resource(workers)
        return workers

    def _check_resource(self, workers: Mapping[str, Any]) -> None:
        if any(self._supply(each) >= 1 for each in workers.values()):
            self._told.add("resource")
            return
        how = f"dask worker {self._address} --nthreads 1 --resources {self._resource}=1"
        # those with it may be about to come back
        if "resource" in self._told:
            self._tell_once(f"No worker has {self._resource} any more: waiting for one ({how})")
            return
        raise UserError(
            f"none of the {len(workers)} worker(s) at {self._address} has the resource "
            f"'{self._resource}' that nodes with the tag '{TRAINING_TAG}' are to take. Start "
            f"workers with it ({how}), or leave resource out of --runner-params"
        )

    def _takes_resource(self, node: Node) -> bool:
        return self._resource is not None and TRAINING_TAG in node.tags

    def _supply(self, worker: Mapping[str, Any]) -> float:
        return float(worker["resources"].get(self._resource, 0))

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            log.warning(message)

    # ------------------------------------------------------------ nodes

    def _start(self, name: str, worker: str) -> None:
        if name in self._running:
            self._lose(name)
        if name in self._futures:
            self._running[name] = worker
            log.info("%s on %s", name, worker)

    def _lose(self, name: str) -> None:
        lost = self._running.pop(name)
        if self._stopping:
            self._futures.pop(name).cancel()
            log.warning("The worker %s was lost while it ran %s", lost, name)
        else:
            log.warning("The worker %s was lost while it ran %s: another takes it up", lost, name)

    def _finish(self, name: str, future: Future) -> Exception | None:
        """Take note of a node that has ended; its error, if that was the end."""
        if self._futures.pop(name, None) is None:
            return None
        worker = self._running.pop(name, None)
        if future.status != "finished":
            return self._error_of(name, future, worker)
        node = self._nodes[name]
        self._keep(node, future)
        self.done.add(node)
        log.info("Completed node: %s", name)
        log.info("Completed %d out of %d tasks", len(self.done), len(self._nodes))
        return None

    def _keep(self, node: Node, future: Future) -> None:
        """Hold what a node hands on as long as it is needed, and nothing else.

        A result that is held is computed anew when its worker is lost: a training must not be.
        """
        made = {name for name in node.outputs if name in self._makers}
        for name in sorted(made & self._pipeline.outputs()):
            self._catalog[name].save(future.result()[name])
        if any(self._loads[name] for name in made):
            self._handed[node.name] = future
        for name in node.inputs:
            self._loads[name] -= 1
        for maker in {self._makers[name] for name in node.inputs if name in self._makers}:
            if not any(self._loads[name] for name in self._nodes[maker].outputs):
                self._handed.pop(maker, None)

    def _error_of(self, name: str, future: Future, worker: str | None) -> Exception:
        from distributed.scheduler import KilledWorker

        if future.cancelled():
            return _lost_scheduler(self._address)
        error = future.exception()
        if isinstance(error, KilledWorker):
            return UserError(
                f"node '{name}' was given to {error.allowed_failures + 1} workers, and each ended "
                f"while it ran (the last was {error.last_worker.address}). Their own logs may say "
                "why; often it is memory, or Dask's limit to it (--memory-limit 0 sets none)"
            )
        if isinstance(error, UserError):
            return error
        if isinstance(error, ModuleNotFoundError) and worker is None:
            return UserError(
                f"a worker cannot run node '{name}' ({error}): install the project and what it "
                "needs where the workers are started"
            )
        return error.with_traceback(future.traceback())

    # ------------------------------------------------------------ the end

    def _let_others_finish(self, failed: str, why: Exception) -> None:
        """Once a node has failed: drop what is queued, and wait for what is running."""
        self._stopping = True
        self._drop_queued()
        if self._running:
            log.warning(
                "%s failed (%s): nothing else is started, and what is running is let finish, since "
                "its results are kept (Ctrl-C ends it): %s",
                failed, first_line(why), self._list_running(),
            )  # fmt: skip
        while self._futures:
            self._look_at_workers()
            for kind, name, value in self._next_events():
                if kind == "ended" and (error := self._finish(name, value)):
                    log.warning("%s failed, too: %s", name, first_line(error))

    def interrupt(self) -> NoReturn:
        """Drop what is queued, and end what is running.

        Raises:
            RunInterruptedError: Always, with what the nodes said.
        """
        self._stopping = True
        in_flight = bool(self._futures)
        self._drop_queued()
        said = []
        if self._running:
            log.warning("Interrupted: ending %s", self._list_running())
        until, again = monotonic() + _INTERRUPT_SECONDS, monotonic()
        while (self._futures or in_flight) and monotonic() < until:
            if monotonic() >= again:
                again = monotonic() + _INTERRUPT_AGAIN_SECONDS
                # all workers: one may have started a node without this having been heard yet
                self._client.run(interrupt_nodes, self._topic, on_error="ignore")
            in_flight = False
            self._look_at_workers()
            for kind, name, value in self._next_events():
                if kind == "ended" and (error := self._finish(name, value)):
                    said.append(
                        f"{name}: {error if isinstance(error, UserError) else first_line(error)}"
                    )
        said += [
            f"{name} on {worker} has not ended yet: it will after its next step"
            for name, worker in self._running.items()
        ]
        raise RunInterruptedError(" ".join(["the run was interrupted.", *said]))

    def _drop_queued(self) -> None:
        for name in set(self._futures) - set(self._running):
            self._futures.pop(name).cancel()

    def _list_running(self) -> str:
        return ", ".join(f"{name} on {worker}" for name, worker in self._running.items())


# ---------------------------------------------------------------- connection


@contextmanager
def _connect(address: str) -> Iterator[Client]:
    """A client of the scheduler, which says nothing by itself.

    Raises:
        UserError: If it cannot be reached.
    """
    import dask
    from distributed import Client

    _quieten_client()
    configured = dask.utils.parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
    seconds = min(configured, _CONNECT_SECONDS)
    try:
        # in a thread, since a notebook's own has a loop already
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _reach(address, seconds)).result()
        client = Client(address, timeout=seconds, set_as_default=False, name="kedro")
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


async def _reach(address: str, seconds: float) -> None:
    """Fail where a client would: one that fails takes long to end, and says so when it does."""
    from distributed import Security
    from distributed.comm import connect

    arguments = Security().get_connection_args("client")
    # something else that listens there may never answer
    comm = await asyncio.wait_for(connect(address, seconds, **arguments), seconds + 1)
    await comm.close()


def _lost_scheduler(address: str) -> SchedulerLostError:
    return SchedulerLostError(
        f"the connection to the Dask scheduler at {address} was lost, and this run with it. What "
        "nodes have saved is kept: once it runs again, the same command begins anew, and an "
        "unfinished training goes on where it was"
    )


def _quieten_client() -> None:
    """What the client logs of a scheduler that is not there is what this module raises."""
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name == "distributed" or name.startswith("distributed."):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """The signal by which schedulers end a job does as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# ---------------------------------------------------------------- what travels


def _describe_project() -> Project:
    from kedro.framework.project import LOGGING, PACKAGE_NAME

    path = find_kedro_project(Path.cwd()) if PACKAGE_NAME else None
    return Project(PACKAGE_NAME, path, dict(LOGGING))


def _check_datasets(pipeline: Pipeline, catalog: CatalogProtocol) -> None:
    for name in sorted(pipeline.datasets()):
        if getattr(catalog[name], "_SINGLE_PROCESS", False):
            raise UserError(
                f"'{name}' is a {type(catalog[name]).__name__}, which one process alone can use: "
                "give it another type in the catalog to run over several machines"
            )


def _pin_versions(
    pipeline: Pipeline, catalog: CatalogProtocol
) -> dict[str, AbstractDataset[Any, Any]]:
    """Copies of a pipeline's datasets, with all versions settled.

    Each worker would look for the latest by itself: another run could save one in between, and a
    disk that is shared may show what is new only after a while.
    """
    made = {_without_transcoding(name) for name in pipeline.all_outputs()}
    pinned = {}
    for name in pipeline.datasets():
        dataset = copy.copy(catalog[name])
        if isinstance(dataset, AbstractVersionedDataset) and dataset._version:
            load, save = dataset._version.load, dataset.resolve_save_version()
            if load is None and _without_transcoding(name) in made:
                load = save
            elif load is None:
                load = _latest_version(dataset)
            dataset._version = Version(load, save)
        pinned[name] = dataset
    return pinned


def _latest_version(dataset: AbstractVersionedDataset[Any, Any]) -> str | None:
    try:
        return dataset.resolve_load_version()
    except VersionNotFoundError:
        # the node that loads it says so
        return None


def _without_transcoding(name: str) -> str:
    return name.split("@", 1)[0]
