"""Training in several processes: launched from here, or joined from a further machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, record
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from tqdm import tqdm

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.models.backbones import put_weights
from deepfake_detection.training.checkpoints import State, TrainingCheckpoints
from deepfake_detection.training.hardware import check_hardware
from deepfake_detection.training.loop import TrainResult
from deepfake_detection.training.processes import joined
from deepfake_detection.training.task import TrainingTask, train_task

log = logging.getLogger(__name__)

# By this the machines of one training know each other at the rendezvous
_RUN_ID = "deepfake-detection"
_START, _RESULT = "start.pt", "result.pt"
# How the record of a failed process begins, if its error is one that a user can mend
_OF_THE_USER = f"{UserError.__name__}: "


@dataclass(frozen=True)
class Machine:
    """What the processes of one machine are told at their start; the rest comes from the keeper.

    Attributes:
        device: As in `Hardware`.
        processes: Of this machine.
        pixel_cache: The folder of pixel caches.
        exchange: A folder through which the keeper gets the task and gives the result; None on a
            machine that joins a training, where no process is the keeper.
        states: The folder of training states, likewise.
    """

    device: str
    processes: int
    pixel_cache: Path
    exchange: Path | None = None
    states: Path | None = None

    def device_of(self, local_rank: int) -> torch.device:
        """The device of one of its processes, each of which has a GPU of its own."""
        device = torch.device(self.device)
        alone = self.processes == 1
        return device if device.type != "cuda" or alone else torch.device("cuda", local_rank)


class WorkerError(Exception):
    """A training process died; the message holds its own traceback."""


def train_in_processes(
    task: TrainingTask,
    network: nn.Module,
    stores: PixelCache,
    start: State | None,
    states: TrainingCheckpoints,
) -> TrainResult:
    """Train in a process for each device, on this machine and those that join it.

    Args:
        task: What to train.
        network: With the weights that training begins with.
        stores: Hold the pixels.
        start: The state to go on from.
        states: Where to save further ones.

    Raises:
        UserError: If the batch is too small to be cut, this process may not start others, or the
            rendezvous fails.
        WorkerError: If a process dies.
        KeyboardInterrupt: If training was interrupted.
    """
    if multiprocessing.current_process().daemon:
        raise UserError(
            "parameter 'training.devices': training in several processes needs a process that may "
            "start them. Start Dask's workers with DASK_DISTRIBUTED__WORKER__DAEMON=False"
        )
    hardware, training = task.hardware, task.training
    workers = hardware.processes * hardware.machines
    smallest = min(training.batch_size, task.subsets.count("train"))
    if smallest < 2 * workers:
        raise UserError(
            f"parameter 'training.batch_size': {workers} processes share each batch and need two "
            f"images each, so {2 * workers} at least (there are {smallest})"
        )
    # weights are too large for the arguments of a process
    with tempfile.TemporaryDirectory(prefix="deepfake-detection-") as exchange:
        handed = {"task": task.state_dict(), "network": network.state_dict(), "start": start}
        torch.save(handed, Path(exchange) / _START)
        machine = Machine(
            hardware.device, hardware.processes, stores.folder, Path(exchange), states.folder
        )
        _launch(machine, 1, None)
        result = torch.load(Path(exchange) / _RESULT, weights_only=True)
    return TrainResult.from_state_dict(result)


def join_training(machine: Machine, machines: int, rendezvous: str) -> None:
    """Take part in the training of another machine, until it ends.

    Args:
        machine: This one.
        machines: How many take part, that one and this one included.
        rendezvous: HOST:PORT, as the training was given it.

    Raises:
        UserError: If a process cannot go on, or the other machine is gone.
        KeyboardInterrupt: If it was interrupted here.
    """
    try:
        _launch(machine, machines, rendezvous)
    except WorkerError as error:
        raise UserError(f"the training that this machine had joined has stopped. {error}") from None


def _launch(machine: Machine, machines: int, rendezvous: str | None) -> None:
    config = LaunchConfig(
        min_nodes=machines,
        max_nodes=machines,
        nproc_per_node=machine.processes,
        run_id=_RUN_ID,
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous or "localhost:0",
        # the keeper's machine is where the others find each other, whoever comes first
        rdzv_configs={"is_host": machine.exchange is not None},
        max_restarts=0,
        start_method="spawn",
        # by its name another machine may not find it
        local_addr=None if rendezvous else "localhost",
    )
    _quieten_launcher()
    with _logs_from_workers() as queue, _signals_restored():
        try:
            elastic_launch(config, _work)(machine, queue)
        except ChildFailedError as error:
            raise _explain(error) from None
        except SignalException:
            raise KeyboardInterrupt from None
        except (torch.distributed.DistError, RendezvousError, OSError) as error:
            raise UserError(
                f"the rendezvous at {rendezvous or 'localhost'} failed ({first_line(error)}). "
                "parameter 'training.rendezvous' is the address of the machine that runs kedro, "
                "with a port that is free and that the others reach."
            ) from error


def _quieten_launcher() -> None:
    """What elastic launch warns of is what this module raises, in one line."""
    # each of its loggers has a level of its own
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("torch.distributed.elastic", "torch.multiprocessing")):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@record
def _work(machine: Machine, queue: Any) -> None:
    """One training process."""
    _send_logs(queue)
    # its own lock is a semaphore of the system, which a process that is ended would leave behind
    tqdm.set_lock(threading.RLock())
    # sent by a terminal to all processes, and by the system when the launching one is gone
    signal.signal(signal.SIGINT, lambda *_: os._exit(128 + signal.SIGINT))
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # what takes its place is not in every torch that this project runs with
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
    local_rank = int(os.environ["LOCAL_RANK"])
    device = machine.device_of(local_rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    keeps = machine.exchange is not None and local_rank == 0
    with joined(device, keeps=keeps) as processes:
        handed = None
        if keeps and machine.exchange:
            handed = torch.load(machine.exchange / _START, weights_only=True)
        handed = processes.spread(handed)
        task = TrainingTask.from_state_dict(handed["task"])
        check_hardware(replace(task.hardware, device=machine.device, processes=machine.processes))
        if device.type == "cpu":
            torch.set_num_threads(task.hardware.threads)
        network, heads = task.build_network()
        put_weights(network, handed["network"])
        states = TrainingCheckpoints(machine.states) if keeps and machine.states else None
        stores = PixelCache(machine.pixel_cache)
        fit = train_task(task, network, heads, stores, handed["start"], states, processes)
        if keeps and machine.exchange:
            torch.save(fit.state_dict(), machine.exchange / _RESULT)


@contextmanager
def _logs_from_workers() -> Iterator[Any]:
    """A queue whose records appear in this process, as it shows its own."""
    queue = multiprocessing.get_context("spawn").Queue()
    listener = QueueListener(queue, _Forward())
    listener.start()
    try:
        yield queue
    finally:
        listener.stop()


class _Forward(logging.Handler):
    """Hands a record to the logger that it is for."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def _send_logs(queue: Any) -> None:
    root = logging.getLogger()
    root.handlers = [QueueHandler(queue)]
    root.setLevel(logging.WARNING)
    logging.getLogger("deepfake_detection").setLevel(logging.INFO)


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Elastic launch sets handlers, and leaves them set; only the main thread may have any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {each: signal.getsignal(each) for each in names}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _explain(error: ChildFailedError) -> WorkerError | UserError:
    rank, failure = error.get_first_failure()
    where = f"training process {rank} (pid {failure.pid}) on {socket.gethostname()}"
    if failure.exitcode < 0:
        killed = signal.Signals(-failure.exitcode).name
        hint = " Was there too little memory?" if killed == "SIGKILL" else ""
        return WorkerError(f"{where} was ended by {killed}.{hint}")
    message = failure.message
    if isinstance(message, dict):
        said = str(message.get("message"))
        if said.startswith(_OF_THE_USER):
            return UserError(said.removeprefix(_OF_THE_USER))
        message = message.get("extraInfo", {}).get("py_callstack") or said
    return WorkerError(f"{where} failed:\n{message}")
