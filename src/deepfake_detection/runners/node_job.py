"""What a worker of a Dask cluster does with a node."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
from kedro.framework.hooks.manager import _create_hook_manager, _register_hooks
from kedro.io import AbstractDataset, AbstractVersionedDataset, DataCatalog, MemoryDataset
from kedro.pipeline.node import Node
from kedro.runner.task import Task

from deepfake_detection.errors import UserError, user_error_behind

log = logging.getLogger(__name__)


class NodeInterruptedError(UserError):
    """A node was ended because its run was interrupted."""


@dataclass(frozen=True)
class Project:
    """What a worker has to know of the project, having no session.

    Attributes:
        package: The project's package, which must be installed on the worker; None outside of a
            project.
        path: The project's folder, likewise.
        logging: Kedro's logging configuration there.
    """

    package: str | None
    path: Path | None
    logging: Mapping[str, Any] = field(default_factory=dict)

    def configure(self) -> None:
        """Configure Kedro in this process, unless it is.

        Raises:
            UserError: If the project's folder is not on this machine.
        """
        if self.path and not self.path.is_dir():
            raise UserError(
                f"there is no folder {self.path} on this machine. The project, its data included, "
                "has to be on a disk that all machines share, at the same path"
            )
        import kedro.framework.project as configured

        with _configuring:
            if self.package and self.package != configured.PACKAGE_NAME:
                configured.configure_project(self.package)
                configured.configure_logging(dict(self.logging))

    def make_hooks(self) -> Any:
        """A manager with the project's own hooks; those of plugins expect a session."""
        manager = _create_hook_manager()
        if self.package:
            from kedro.framework.project import settings

            _register_hooks(manager, settings.HOOKS)
        return manager


_configuring = threading.Lock()


@dataclass(frozen=True)
class NodeJob:
    """A node, and all that it reads and writes.

    Attributes:
        node: To run.
        datasets: Its inputs and outputs by name. What another node handed on is empty here.
        run_id: Of the run that it belongs to.
        is_async: Whether its datasets are loaded and saved in threads.
    """

    node: Node
    datasets: Mapping[str, AbstractDataset[Any, Any]]
    run_id: str | None
    is_async: bool

    def pack(self) -> bytes:
        """As bytes, which travel; functions of a notebook too.

        Raises:
            UserError: If something in it cannot travel.
        """
        import cloudpickle

        try:
            return cloudpickle.dumps(self)
        # whatever an object's own way of being pickled raises
        except Exception as error:
            raise UserError(
                f"node '{self.node.name}' cannot be sent to another machine ({error}): neither "
                "what it is made of nor its datasets may hold open files, locks or connections"
            ) from error

    def run(self, handed: Mapping[str, Any], hooks: Any) -> dict[str, Any]:
        """Load, run and save, as Kedro's own runners do.

        Args:
            handed: Inputs that other nodes handed on.
            hooks: A hook manager.

        Returns:
            The outputs that are kept in memory, to be handed on.
        """
        catalog = DataCatalog(datasets=dict(self.datasets))
        for name in set(self.node.inputs) & handed.keys():
            catalog.save(name, handed[name])
        for name in self.node.outputs:
            _remove_leftover(self.datasets[name])
        Task(
            node=self.node,
            catalog=catalog,
            is_async=self.is_async,
            hook_manager=hooks,
            run_id=self.run_id,
        ).execute()
        kept = [name for name in self.node.outputs if is_in_memory(self.datasets[name])]
        return {name: catalog.load(name) for name in kept}


def is_in_memory(dataset: AbstractDataset[Any, Any]) -> bool:
    """Whether what is saved in a dataset stays in the process."""
    return isinstance(dataset, MemoryDataset)


def _remove_leftover(dataset: AbstractDataset[Any, Any]) -> None:
    """Remove what a lost worker saved of this very version, which Kedro would not overwrite.

    No other run has its version, and no other node of this one writes it.
    """
    if not isinstance(dataset, AbstractVersionedDataset) or not dataset._version:
        return
    version = dataset.resolve_save_version()
    path = str(dataset._get_versioned_path(str(version)))
    if dataset._exists_function(path):
        log.warning("Writing %s anew: the worker that wrote it was lost", path)
        files = getattr(dataset, "_fs", None) or fsspec.filesystem("file")
        files.rm(path, recursive=True)


# ---------------------------------------------------------------- on the worker

_lock = threading.Lock()
# Threads that run nodes, by run
_threads: dict[str, set[int]] = {}
_interrupted: set[str] = set()


def run_node(
    packed: bytes, project: Project, run: str, name: str, *handed: Mapping[str, Any]
) -> dict[str, Any]:
    """Run a node on this worker; the task that is sent to Dask.

    Args:
        packed: A `NodeJob`. It is unpacked here, not by Dask, since the imports that this takes
            would keep the worker from answering for seconds.
        project: That it belongs to.
        run: Topic of the events of the run.
        name: Of the node.
        handed: What other nodes handed on.

    Returns:
        What it hands on itself.

    Raises:
        UserError: If that is what it came from, wherever it was raised.
        NodeInterruptedError: If the run was interrupted.
        Exception: Any other of the node, with a note that says where it happened.
    """
    import cloudpickle
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(run, {"node": name, "worker": worker.address})
    try:
        with _interruptible(run):
            project.configure()
            job: NodeJob = cloudpickle.loads(packed)
            values = {name: value for each in handed for name, value in each.items()}
            return job.run(values, project.make_hooks())
    except KeyboardInterrupt:
        raise NodeInterruptedError("it was interrupted") from None
    except Exception as error:
        failed = error
    # not in the block above, where it would come from itself
    raise _fit_for_travel(failed, name, worker.address)


@contextmanager
def _interruptible(run: str) -> Iterator[None]:
    me = threading.get_ident()
    with _lock:
        if run in _interrupted:
            raise KeyboardInterrupt
        _threads.setdefault(run, set()).add(me)
    try:
        yield
    finally:
        with _lock:
            _threads[run].discard(me)
            if not _threads[run]:
                del _threads[run]


def interrupt_nodes(run: str) -> None:
    """Raise KeyboardInterrupt in the nodes of a run on this worker, and start no more of them.

    Dask itself only forgets a task that is running: the thread would go on. A thread is interrupted
    between two steps of Python code, so what takes long inside one call of a library ends it first.
    """
    with _lock:
        _interrupted.add(run)
        for thread in _threads.get(run, ()):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt)
            )


def _fit_for_travel(error: Exception, name: str, address: str) -> Exception:
    """The error to send back: in the user's words, or with where it happened."""
    mendable = user_error_behind(error)
    if mendable is None:
        error.add_note(f"In node '{name}' on {address}")
        return error
    # on its way an error takes along what it came from; what wraps this one came from it
    mendable.__cause__ = mendable.__context__ = None
    return mendable
