"""The manifest of a run: what it read, what it wrote, by which command and when, as plain JSON."""

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib

from deepfake_detection.datasets.detector_file import DetectorDataset
from deepfake_detection.datasets.versioned_file import VersionedFileDataset
from deepfake_detection.errors import UserError
from deepfake_detection.models.detector_file import DetectorFile

ENTRY = "run_manifest"
_PACKAGES = ("deepfake-detection", "kedro", "torch", "torchvision")


def start_manifest(
    run_params: Mapping[str, Any],
    project: Path,
    datasets: Mapping[str, Any],
    outputs: Iterable[str],
    data: str,
) -> dict[str, Any]:
    """The manifest at the start of a run, when the versions of all entries are fixed.

    `data` is the data folder as it is named in the configuration.

    `run_params` are those of Kedro's hook. `datasets` are the entries that the run reads or writes,
    by name; those in `outputs` are written.
    """
    versions = {
        name: str(dataset.resolve_load_version())
        for name, dataset in sorted(datasets.items())
        if isinstance(dataset, VersionedFileDataset) and dataset.is_fixed
    }
    written = set(outputs)
    # "python -m kedro" is the name that Kedro gives itself
    as_kedro = Path(sys.argv[0]).stem.endswith(("kedro", "__main__"))
    return {
        "session": run_params.get("run_id") or run_params.get("session_id"),
        "status": "running",
        "command": shlex.join(["kedro", *sys.argv[1:]]) if as_kedro else None,
        "params": run_params.get("runtime_params") or {},
        "commit": _find_commit(project),
        "data": data,
        "hardware": _find_hardware(),
        "started": _now(),
        "ended": None,
        "read": {name: each for name, each in versions.items() if name not in {*written, ENTRY}},
        "written": {name: each for name, each in versions.items() if name in written},
        "runs": {},
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }


def add_elapsed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with the time since the run's start, `h:mm:ss`."""
    since = datetime.fromisoformat(_now()) - datetime.fromisoformat(manifest["started"])
    return {**manifest, "elapsed": str(since)}


def end_manifest(
    manifest: Mapping[str, Any], datasets: Mapping[str, Any], error: str | None
) -> dict[str, Any]:
    """The manifest at the end of a run; `error` is the one that ended it.

    `runs` are the run fingerprints of the detectors that it read and wrote.
    """
    runs = {}
    for name, dataset in sorted(datasets.items()):
        if isinstance(dataset, DetectorDataset) and dataset.exists():
            try:
                card = DetectorFile(dataset.path).read_card()
            except UserError:
                continue
            runs[name] = card.run_fingerprint
    status = {"status": "failed", "error": error} if error else {"status": "finished"}
    return {**manifest, **status, "ended": _now(), "runs": runs}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _find_hardware() -> dict[str, Any]:
    """The machine, its cores that this process may use, and its accelerators."""
    # it takes seconds to import, and all commands import this module
    import torch

    gpus = [torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count())]
    return {"machine": platform.machine(), "cores": joblib.cpu_count(), "accelerators": gpus}


def _find_commit(project: Path) -> str | None:
    """The commit of the project's files, with `+` if they were changed since; None without Git."""
    try:
        commit, changes = (
            subprocess.run(  # noqa: S603
                ["git", "-C", str(project), *command],  # noqa: S607
                capture_output=True, text=True, check=True, timeout=10,
            ).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+" if changes else commit
