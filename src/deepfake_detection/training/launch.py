"""Training in several processes of this machine."""

import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
import warnings
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

from deepfake_detection.errors import UserError
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.models.backbones import put_weights
from deepfake_detection.training.checkpoints import State, TrainingCheckpoints
from deepfake_detection.training.loop import TrainResult
from deepfake_detection.training.processes import Processes
from deepfake_detection.training.task import TrainingTask, train_task


class ProcessError(Exception):
    """A training process failed or was killed."""


def train_in_processes(
    task: TrainingTask,
    network: nn.Module,
    stores: PixelCache,
    start: State | None,
    states: TrainingCheckpoints,
) -> TrainResult:
    """Train as `train_task` does, in a process for each device; ProcessError if one fails."""
    if mp.current_process().daemon:
        raise UserError(
            "parameter 'training.devices': this process may not start others. Start Dask's workers "
            "with DASK_DISTRIBUTED__WORKER__DAEMON=False"
        )
    # weights are too large for the arguments of a process
    with tempfile.TemporaryDirectory(prefix="deepfake-detection-") as name:
        folder, given = Path(name), {"task": task.state_dict(), "network": network.state_dict()}
        torch.save(given | {"start": start}, folder / "start.pt")
        _run(task.hardware.processes, folder, stores, states)
        return TrainResult.from_state_dict(torch.load(folder / "result.pt", weights_only=True))


def _run(count: int, folder: Path, *args: Any) -> None:
    """Run `_work` in each process; when one fails, and on Ctrl-C, kill all."""
    logs = mp.get_context("spawn").Queue()
    listener = QueueListener(logs, *logging.root.handlers)
    listener.start()
    level = logging.getLogger("deepfake_detection").getEffectiveLevel()
    args = (count, folder, logs, level, *args)
    started = mp.start_processes(_work, args, count, join=False, start_method="spawn").processes
    codes = [None] * count
    try:
        # not join() of torch, which unpickles a file from a shared folder
        while None in codes and not any(codes):
            wait([each.sentinel for each in started if each.exitcode is None], timeout=1)
            codes = [each.exitcode for each in started]
    finally:
        for each in started:
            each.kill()
            each.join()
        listener.stop()
    for rank, code in enumerate(codes):
        if code and code < 0:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if name == "SIGKILL" else ""
            raise ProcessError(f"training process {rank} was ended by {name}{hint}.")
    # the first error counts: further processes fail because that one is gone
    for path in sorted(folder.glob("*Error"), key=lambda path: path.stat().st_mtime_ns):
        kind = UserError if path.suffix == ".UserError" else ProcessError
        raise kind(path.read_text(encoding="utf-8"))
    if any(codes):
        raise ProcessError(f"the training processes ended with the exit codes {codes}.")


def _work(rank: int, count: int, folder: Path, logs: Any, level: int, *args: Any) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # Ctrl-C reaches the parent too, which then ends this process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.root.handlers = [QueueHandler(logs)]
    logging.getLogger("deepfake_detection").setLevel(level)
    # tqdm's own lock is a semaphore of the system, which a killed process leaves behind
    tqdm.set_lock(threading.RLock())
    warnings.filterwarnings("ignore", message="Grad strides do not|`broadcast_buffers` is depr")
    try:
        _train(rank, count, folder, *args)
    except Exception as error:
        said, kind = f"training process {rank} failed:\n{traceback.format_exc()}", "Error"
        if isinstance(error, UserError):
            said, kind = str(error), "UserError"
        (folder / f"{rank}.{kind}").write_text(said, encoding="utf-8")
        sys.exit(1)


def _train(
    rank: int, count: int, folder: Path, stores: PixelCache, states: TrainingCheckpoints
) -> None:
    given = torch.load(folder / "start.pt", weights_only=True)
    task = TrainingTask.from_state_dict(given["task"])
    device = torch.device(task.hardware.device)
    if device.type == "cuda":
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
    join_group(rank, count, device, folder / "store")
    network, heads = task.build_network()
    put_weights(network, given["network"])
    processes = Processes(rank, count, device)
    result = train_task(task, network, heads, stores, given["start"], states, processes)
    if processes.is_main:
        torch.save(result.state_dict(), folder / "result.pt")
    # a process that fails stays connected until its error is on disk, so that it is the first
    dist.destroy_process_group()


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
