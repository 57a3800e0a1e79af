"""Runs that begin, go on after an interruption, and are interrupted."""

import logging
from collections.abc import Sequence

import torch
from torch import nn

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.parameters import TrainingParameters
from deepfake_detection.training.checkpoints import State, TrainingCheckpoints
from deepfake_detection.training.hardware import Hardware, check_hardware
from deepfake_detection.training.launch import WorkerError, train_in_processes
from deepfake_detection.training.loop import TrainResult
from deepfake_detection.training.processes import Processes
from deepfake_detection.training.task import TrainingTask, train_task

log = logging.getLogger(__name__)


def find_checkpoint(
    states: TrainingCheckpoints, run: str, training: TrainingParameters
) -> State | None:
    """The state that an interrupted run with the same settings and split left, if it is wanted.

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
            len(state["fit"]["history"]), states.path(run),
        )  # fmt: skip
    return state


def hardware_of_checkpoint(state: State) -> Hardware:
    """What an interrupted training computed on, and goes on with.

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
        UserError: If a process dies, with its own traceback.
        KeyboardInterrupt: If training was interrupted.
    """
    if not task.hardware.alone:
        try:
            return train_in_processes(task, network, stores, start, states)
        except WorkerError as error:
            raise UserError(f"{error}\n{describe_resume(states, task.run)}") from None
    threads = torch.get_num_threads()
    # the sums of another number of threads differ in their last bits
    torch.set_num_threads(task.hardware.threads)
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
        f"It is kept up to the end of epoch {len(state['fit']['history'])} in {states.path(run)}: "
        "the same command goes on from there."
    )
