"""What a worker of a Dask cluster does with a node."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path
from typing import Any, NamedTuple

import kedro.framework.project as kedro_project
from kedro.framework.hooks.markers import HOOK_NAMESPACE
from kedro.framework.hooks.specs import DatasetSpecs, NodeSpecs
from kedro.io import AbstractDataset, AbstractVersionedDataset, MemoryDataset
from kedro.runner import Task
from pluggy import PluginManager

from deepfake_detection.errors import UserError, user_error_behind

log = logging.getLogger(__name__)

_configuring = threading.Lock()


class Project(NamedTuple):
    """The project of a run; outside a project, both are None."""

    package: str | None
    folder: Path | None


def run_node(packed: bytes, project: Project, name: str, topic: str) -> dict[str, Any]:
    """Run a node on this worker, as Kedro's own runners do. This is the task that Dask gets.

    Args:
        packed: A Kedro task with the datasets of its node, their versions settled. It is unpacked
            here and not by Dask: importing what it needs keeps the worker from answering.
        project: That the node belongs to.
        name: Of the node.
        topic: Of the event that says where the node runs.

    Returns:
        Outputs in memory, by name.

    Raises:
        UserError: If the project is not on this machine, or the node's error came from one.
        Exception: Any other error of the node, with a note that says where it ran.
    """
    import cloudpickle
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(topic, {"node": name, "worker": worker.address})
    try:
        hooks = _make_hooks(project)
        task: Task = cloudpickle.loads(packed)
        outputs = {output: task.catalog[output] for output in task.node.outputs}
        for dataset in outputs.values():
            _remove_leftover(dataset)
        task.hook_manager = hooks
        task.execute()
        return {
            name: each.load() for name, each in outputs.items() if isinstance(each, MemoryDataset)
        }
    except Exception as error:
        failed = error
    known = user_error_behind(failed)
    if known is None:
        failed.add_note(f"In node '{name}' on {worker.address}")
        raise failed
    # an error takes along what it came from, and here that is what wraps it
    known.__cause__ = known.__context__ = None
    raise known


def _make_hooks(project: Project) -> PluginManager:
    """The project's hooks. Those of plugins expect a session, which a worker does not have."""
    if project.folder and not project.folder.is_dir():
        raise UserError(
            f"there is no folder {project.folder} on this machine. The project, its data included, "
            "must be on a disk that all machines share, at the same path"
        )
    hooks = PluginManager(HOOK_NAMESPACE)
    hooks.add_hookspecs(NodeSpecs)
    hooks.add_hookspecs(DatasetSpecs)
    if project.package:
        with _configuring:
            if project.package != kedro_project.PACKAGE_NAME:
                kedro_project.configure_project(project.package)
        for each in kedro_project.settings.HOOKS:
            hooks.register(each)
    return hooks


def _remove_leftover(dataset: AbstractDataset[Any, Any]) -> None:
    """Remove what a lost worker saved under this run's version: Kedro overwrites no version."""
    if isinstance(dataset, AbstractVersionedDataset) and dataset.resolve_save_version():
        for path in map(Path, dataset.list_versions()):
            if path.parent.name == dataset.resolve_save_version():
                log.warning("Replacing %s: the worker that wrote it was lost", path)
                shutil.rmtree(path.parent)
