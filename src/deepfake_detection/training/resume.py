"""Starting a training, or resuming it from its checkpoint."""

import logging
import threading
from collections.abc import Sequence

import torch
from torch import nn

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.parameters import TrainingParameters
from deepfake_detection.training.checkpoints import State, TrainingCheckpoints
from deepfake_detection.training.hardware import Hardware, check_hardware
from deepfake_detection.training.launch import ProcessError, train_in_processes
from deepfake_detection.training.loop import TrainResult
from deepfake_detection.training.processes import Processes
from deepfake_detection.training.task import TrainingTask, train_task

log = logging.getLogger(__name__)

# Threads (Kedro's ThreadRunner, Dask) train one after the other: torch's random state and number of
# threads belong to the process. A caller that also draws the first weights holds it around both.
training_lock = threading.RLock()


def find_checkpoint(
    states: TrainingCheckpoints, run: str, training: TrainingParameters
) -> State | None:
    """The checkpoint of an interrupted run with the same settings and split, if it is wanted.

    Raises:
        UserError: If it is damaged.
    """
    if others := states.others(run):
        log.info(
            "Left alone: %d unfinished training%s with other settings or another split in %s",
            len(others), "s" if len(others) > 1 else "", states.folder,
        )  # fmt: skip
    if not training.checkpoint.resume:
        return None
    state = states.load(run)
    if state is not None:
        log.info(
            "Going on after epoch %d of a training with the same settings and split (%s). "
            "--params training.checkpoint.resume=false begins anew",
            len(state["result"]["history"]), states.path(run),
        )  # fmt: skip
    return state


def hardware_of_checkpoint(state: State) -> Hardware:
    """The hardware that an interrupted training computed on, with which it has to go on.

    Raises:
        UserError: If this machine does not have it.
    """
    hardware = Hardware(**state["hardware"])
    try:
        check_hardware(hardware)
    except UserError as error:
        raise UserError(
            f"the interrupted training computed on {hardware}, and goes on with nothing else. "
            f"Here {error} To begin anew, add --params training.checkpoint.resume=false"
        ) from None
    return hardware


def train(
    task: TrainingTask,
    network: nn.Module,
    heads: Sequence[str],
    stores: PixelCache,
    start: State | None,
    states: TrainingCheckpoints,
) -> TrainResult:
    """Train in this process, or in one for each device.

    Raises:
        UserError: If training cannot go on, or a process fails or is killed.
        KeyboardInterrupt: If training was interrupted.
    """
    with training_lock:
        if task.hardware.processes > 1:
            try:
                return train_in_processes(task, network, stores, start, states)
            except ProcessError as error:
                raise UserError(f"{error} {describe_resume(states, task.run)}") from None
        threads = torch.get_num_threads()
        try:
            alone = Processes.alone(torch.device(task.hardware.device))
            return train_task(task, network, heads, stores, start, states, alone)
        finally:
            torch.set_num_threads(threads)


def describe_resume(states: TrainingCheckpoints, run: str) -> str:
    """What is kept of an interrupted training, and how to go on."""
    state = states.load(run)
    if state is None:
        return "No epoch was finished yet, so nothing is kept."
    return (
        f"It is kept up to the end of epoch {len(state['result']['history'])} in "
        f"{states.path(run)}: the same command goes on from there."
    )
