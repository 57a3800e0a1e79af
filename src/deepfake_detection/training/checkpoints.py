"""Checkpoints: what a training needs to resume, on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from zipfile import ZipFile

import torch

from deepfake_detection.atomic_write import atomic_write
from deepfake_detection.errors import UserError, first_line
from deepfake_detection.file_lock import only_once

log = logging.getLogger(__name__)

# Raised when an older checkpoint cannot be resumed from; 2: with validation logits, one machine.
_FORMAT = 2
# What each block of a checkpoint holds at least
_CONTENT = {
    "trainer": ("network", "optimizer", "schedule"),
    "result": ("history", "best", "best_weights", "validation_logits", "not_finite"),
    "hardware": ("device", "processes", "precision", "threads"),
}

# Plain values and tensors only, as torch.load reads them with weights_only
State = dict[str, Any]


@dataclass(frozen=True)
class TrainingCheckpoints:
    """A folder with one checkpoint for each unfinished run, named by the run's fingerprint."""

    folder: Path

    def path(self, run_fingerprint: str) -> Path:
        """The file of a run."""
        return self.folder / f"{run_fingerprint[:16]}.pt"

    def others(self, run_fingerprint: str) -> list[Path]:
        """Files of runs with other settings or splits."""
        return sorted(set(self.folder.glob("[!.]*.pt")) - {self.path(run_fingerprint)})

    def load(self, run_fingerprint: str) -> State | None:
        """Read a checkpoint onto the CPU; None if there is none, UserError if it is unusable."""
        path = self.path(run_fingerprint)
        try:
            _check_content(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] == _FORMAT and content["run"] == run_fingerprint:
                state = dict(content["state"])
                for block, keys in _CONTENT.items():
                    for key in keys:
                        state[block][key]
                return state
            problem = "is of another version of deepfake-detection"
        except FileNotFoundError:
            return None
        # a damaged file makes torch's readers raise errors of several kinds
        except Exception as error:
            problem = f"is truncated or damaged ({type(error).__name__}: {first_line(error)})"
        raise UserError(
            f"the checkpoint {path} {problem}. To start again from the first epoch, delete the "
            "file, or add --params training.checkpoint.resume=false"
        )

    def save(self, run_fingerprint: str, state: State) -> None:
        """Write the checkpoint of a run, whole or not at all; UserError if the disk is full."""
        path = self.path(run_fingerprint)
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            torch.save({"format": _FORMAT, "run": run_fingerprint, "state": state}, file)

    def lock(self, run_fingerprint: str) -> AbstractContextManager[None]:
        """Hold this run; a UserError if another process trains it."""
        return only_once(self.path(run_fingerprint).with_suffix(".lock"), "training this run")

    def describe(self, run_fingerprint: str) -> str:
        """What is kept of an interrupted run, and how to go on."""
        state = self.load(run_fingerprint)
        if state is None:
            return "No epoch was finished yet, so nothing is kept."
        return (
            f"It is kept up to the end of epoch {len(state['result']['history'])} in "
            f"{self.path(run_fingerprint)}: the same command goes on from there."
        )

    def remove(self, run_fingerprint: str) -> None:
        """Remove the checkpoint of a finished run, and what a killed save of it left behind.

        It stays if another process trains the same run at this moment.
        """
        if not self.folder.is_dir():
            return
        path = self.path(run_fingerprint)
        with suppress(UserError), self.lock(run_fingerprint):
            path.unlink(missing_ok=True)
            for left in self.folder.glob(f".{path.stem}*"):
                left.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


class CheckpointSaver:
    """Saves the checkpoint of one run at the ends of epochs, at most every so many minutes.

    The first epoch is saved in any case. On a GPU a thread writes the file from a copy in main
    memory, while training goes on. On a CPU the copy would double the network's memory and the
    thread take a core: it is written at once.
    """

    def __init__(
        self, states: TrainingCheckpoints, run: str, minutes: float, device: torch.device
    ) -> None:
        self._states, self._run, self._seconds = states, run, minutes * 60
        self._writer = ThreadPoolExecutor(1) if device.type != "cpu" else None
        self._writing: Future[None] | None = None
        self._saved: float | None = None

    def __enter__(self) -> CheckpointSaver:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.shutdown()

    def save_if_due(self, make_checkpoint: Callable[[], State], *, last: bool = False) -> None:
        """Save if the last time was long enough ago, or this is the last epoch."""
        now = perf_counter()
        if not last and self._saved is not None and now - self._saved < self._seconds:
            return
        self.finish()
        self._saved = now
        if self._writer is None:
            self._states.save(self._run, make_checkpoint())
        else:
            state = _copy_to_cpu(make_checkpoint())
            self._writing = self._writer.submit(self._states.save, self._run, state)

    def finish(self) -> None:
        """Wait until the file is written; UserError if the disk is full."""
        if self._writing:
            self._writing.result()
            self._writing = None


def _check_content(path: Path) -> None:
    """Compare checksums, which torch writes and does not read."""
    with ZipFile(path) as archive:
        if changed := archive.testzip():
            raise ValueError(f"{changed} has another checksum")


def _copy_to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_cpu(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy_to_cpu(each) for each in value)
    return value
