"""Training in several processes of this machine."""

import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from contextlib import suppress
from logging.handlers import QueueHandler, QueueListener
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from tqdm import tqdm

from deepfake_detection.atomic_write import naming_disk_errors
from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import put_weights
from deepfake_detection.training.checkpoints import State
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.results import TrainResult
from deepfake_detection.training.task import TrainingTask, train_task


def train_in_processes(task: TrainingTask, network: nn.Module, start: State | None) -> TrainResult:
    """Train as `train_task` does, in a process for each device; UserError if one fails."""
    if mp.current_process().daemon:
        raise UserError(
            "parameter 'training.devices': this process may not start others. Start Dask's workers "
            "with DASK_DISTRIBUTED__WORKER__DAEMON=False"
        )
    with tempfile.TemporaryDirectory() as name, naming_disk_errors(folder := Path(name)):
        # weights are too large for the arguments of a process
        torch.save({"network": network.state_dict(), "start": start}, folder / "start.pt")
        codes = _run(task, folder)
        # a process that a signal ended is why the others failed
        first = min(codes) or max(codes)
        if first > 0 and (error := folder / "error").exists():
            raise UserError(error.read_text(encoding="utf-8"))
        if first != 0:
            cause = signal.Signals(-first).name if first < 0 else f"the exit code {first}"
            hint = " (out of memory?)" if cause == "SIGKILL" else ""
            said = f"training process {codes.index(first)} was ended by {cause}{hint}."
            raise UserError(f"{said} {task.checkpoints.describe(task.run)}")
        return TrainResult.from_state_dict(torch.load(folder / "result.pt", weights_only=True))


def _run(task: TrainingTask, folder: Path) -> list[int]:
    """Run `_work` in each process; when one fails, and on Ctrl-C, kill all; their exit codes."""
    logs = mp.get_context("spawn").Queue()
    listener = QueueListener(logs, *logging.root.handlers)
    listener.start()
    args = (task, folder, logs, logging.getLogger("deepfake_detection").getEffectiveLevel())
    running = mp.start_processes(_work, args, task.hardware.processes, join=False).processes
    try:
        # not join() of torch, which unpickles a file from a shared folder
        while not any(codes := [each.exitcode for each in running]) and None in codes:
            wait([each.sentinel for each in running if each.exitcode is None], timeout=1)
    finally:
        for each in running:
            each.kill()
            each.join()
        listener.stop()
    return [code or 0 for code in codes]


def _work(rank: int, task: TrainingTask, folder: Path, logs: Any, level: int) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # Ctrl-C reaches the parent too, which then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.root.handlers = [QueueHandler(logs)]
    logging.getLogger("deepfake_detection").setLevel(level)
    # tqdm's own lock is a semaphore of the system, which a killed process leaves behind
    tqdm.set_lock(threading.RLock())
    warnings.filterwarnings("ignore", message="Grad strides do not|`broadcast_buffers` is depr")
    try:
        given = torch.load(folder / "start.pt", weights_only=True)
        device, count = torch.device(task.hardware.device), task.hardware.processes
        if device.type == "cuda":
            device = torch.device("cuda", rank)
            torch.cuda.set_device(device)
        join_group(rank, count, device, folder / "store")
        network, heads = task.build_network()
        put_weights(network, given["network"])
        result = train_task(task, network, heads, given["start"], Processes(device, rank, count))
        if rank == 0:
            torch.save(result.state_dict(), folder / "result.pt")
        # a process that fails stays connected until its error is on disk, so that it is the first
        dist.destroy_process_group()
    except Exception as error:
        said = str(error)
        if not isinstance(error, UserError):
            kept = task.checkpoints.describe(task.run)
            said = f"training process {rank} failed:\n{traceback.format_exc()} {kept}"
        # the first error counts: further processes fail because that one is gone
        with suppress(FileExistsError), (folder / "error").open("x", encoding="utf-8") as file:
            file.write(said)
        sys.exit(1)


def join_group(rank: int, count: int, device: torch.device, store: Path) -> None:
    """Join the other processes through a file; all connections use the loopback interface."""
    found = psutil.net_if_addrs().items()
    loopback = next(name for name, each in found if "127.0.0.1" in (one.address for one in each))
    os.environ["GLOO_SOCKET_IFNAME"], os.environ["NCCL_SOCKET_IFNAME"] = loopback, f"={loopback}"
    # NCCL's service for administrators, which listens on a port of its own
    os.environ["NCCL_RAS_ENABLE"] = "0"
    backend = "nccl" if device.type == "cuda" else "gloo"
    file = dist.FileStore(str(store), count)
    dist.init_process_group(backend, store=file, rank=rank, world_size=count)


def _exit_with_parent() -> None:
    if parent := mp.parent_process():
        parent.join()
        os._exit(1)
