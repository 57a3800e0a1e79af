"""Training state: all that a training needs to go on where it was, on disk."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import torch

from deepfake_detection.errors import UserError, first_line

log = logging.getLogger(__name__)

# Raised when an older state could not be taken up.
_FORMAT = 1

# Plain values and tensors only, as torch.load reads them with weights_only
State = dict[str, Any]


@dataclass(frozen=True)
class TrainingCheckpoints:
    """The folder of training states: one file for each unfinished run, named by its fingerprint.

    So a run with the same settings and split finds its own, and leaves those of others alone.
    """

    folder: Path

    def path(self, run_fingerprint: str) -> Path:
        """Where the state of a run lies, if it has one."""
        return self.folder / f"{run_fingerprint[:16]}.pt"

    def others(self, run_fingerprint: str) -> list[Path]:
        """States of runs with other settings or splits."""
        return sorted(set(self.folder.glob("*.pt")) - {self.path(run_fingerprint)})

    def load(self, run_fingerprint: str) -> State | None:
        """Read the state of a run onto the CPU; None if there is none.

        Raises:
            UserError: If it is truncated, damaged or of another version, with the way out.
        """
        path = self.path(run_fingerprint)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] == _FORMAT and content["run"] == run_fingerprint:
                return dict(content["state"])
            problem = "is of another version of deepfake-detection"
        except FileNotFoundError:
            return None
        # a damaged file leads torch's readers into several kinds of errors
        except Exception as error:
            problem = f"is truncated or damaged ({first_line(error)})"
        raise UserError(
            f"the training state {path} {problem}. Training begins anew only when told to: delete "
            "the file, or add --params training.checkpoint.resume=false"
        )

    def save(self, run_fingerprint: str, state: State) -> None:
        """Write the state of a run, whole or not at all.

        Raises:
            UserError: If the disk is full.
        """
        path = self.path(run_fingerprint)
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.stem}-{uuid4().hex}")
        try:
            with beside.open("wb") as file:
                torch.save({"format": _FORMAT, "run": run_fingerprint, "state": state}, file)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except (OSError, RuntimeError) as error:
            # torch's writer says RuntimeError where the system said that the disk is full
            full = getattr(error, "errno", None) == errno.ENOSPC or "PytorchStreamWriter" in str(
                error
            )
            if full:
                raise UserError(
                    f"the disk is full: the training state could not be written to {path}. Make "
                    "room, and the same command goes on from the state before it."
                ) from error
            raise
        finally:
            beside.unlink(missing_ok=True)

    def remove(self, run_fingerprint: str) -> None:
        """Remove the state of a finished run, and what a killed save of it left behind."""
        path = self.path(run_fingerprint)
        path.unlink(missing_ok=True)
        for left in self.folder.glob(f".{path.stem}-*"):
            left.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


class CheckpointSaver:
    """Saves the state of one run at the ends of epochs, at most every so many minutes.

    On a GPU the file is written by a thread while training goes on, from a copy in main memory. On
    a CPU, where a copy would take as much memory as the network again and the thread a core, at
    once.

    Args:
        states: Where to.
        run_fingerprint: Of the run.
        minutes: Between two saves, at least; the first epoch is saved in any case.
        device: That trains.
    """

    def __init__(
        self,
        states: TrainingCheckpoints,
        run_fingerprint: str,
        minutes: float,
        device: torch.device,
    ) -> None:
        self._states, self._run, self._seconds = states, run_fingerprint, minutes * 60
        self._writer = ThreadPoolExecutor(1) if device.type != "cpu" else None
        self._writing: Future[None] | None = None
        self._saved: float | None = None

    def __enter__(self) -> CheckpointSaver:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.shutdown()

    def save_if_due(self, make_checkpoint: Callable[[], State], *, last: bool = False) -> None:
        """Save, unless that was done a short while ago and this is not the last time.

        Raises:
            UserError: If the disk is full.
        """
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
        """Wait for what is still being written, and raise what went wrong with it."""
        if self._writing:
            self._writing.result()
            self._writing = None


def _copy_to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copy_to_cpu(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy_to_cpu(each) for each in value)
    return value
