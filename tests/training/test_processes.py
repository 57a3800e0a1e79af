"""Processes of one machine train as one does, and end as one."""

import copy
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing import start_processes
from training_samples import (
    CPU,
    PREPROCESSING,
    make_network,
    make_pictures,
    make_task,
    make_training,
    run_task,
)

from deepfake_detection.errors import UserError
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.launch import join_group
from deepfake_detection.training.loop import Trainer
from deepfake_detection.training.optimisation import Loss
from deepfake_detection.training.train_run import train

# more fakes than real ones, so that parts of a batch differ in their weights
PICTURES = make_pictures(31, seed=1)
CHOSEN = (PICTURES.labels == 1) | (torch.arange(31) % 3 == 0)
PICTURES = replace(PICTURES, rows=PICTURES.rows[CHOSEN], labels=PICTURES.labels[CHOSEN])


def _first_step(processes: Processes) -> dict[str, Any]:
    """Gradients of the first step, and what the epoch says of it."""
    # balanced: each picture weighs what it weighs in the whole batch
    loss = {"class_weights": "balanced", "auxiliary_weight": 0.4}
    training = make_training(batch_size=len(PICTURES), loss=loss)
    network = make_network(normalised=False)
    trainer = Trainer(
        network, ["5"], PICTURES, PICTURES, PREPROCESSING, training,
        precision="fp32", processes=processes,
    )  # fmt: skip
    means = trainer.train(1)
    gradients = {name: each.grad.clone() for name, each in network.named_parameters()}
    *validation, logits = trainer.validate(1)
    assert logits is not None
    return {
        "gradients": gradients, "means": means, "validation": tuple(validation),
        "logits": torch.from_numpy(logits),
    }  # fmt: skip


def _take_first_step(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    join_group(rank, 2, CPU, folder / "store")
    processes = Processes(CPU, rank, 2)
    result = _first_step(processes)
    network = torch.nn.BatchNorm1d(2)
    network.running_mean.fill_(rank)
    processes.average_buffers(network)
    assert network.running_mean.tolist() == [0.5, 0.5]
    torch.save(result, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_the_first_steps_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    alone = _first_step(Processes(CPU))
    start_processes(_take_first_step, (tmp_path,), 2, start_method="spawn")
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, gradient in alone["gradients"].items():
            error = (together["gradients"][name] - gradient).norm() / gradient.norm()
            assert error <= 1e-5, name
        for name in ("means", "validation"):
            assert together[name] == pytest.approx(alone[name], rel=1e-5)
        torch.testing.assert_close(together["logits"], alone["logits"], rtol=1e-4, atol=1e-5)


@given(st.integers(1, 5), st.lists(st.integers(0, 1), min_size=12, max_size=40), st.booleans())
def test_weighted_losses_of_parts_are_the_mean_loss_of_the_batch(
    parts: int, labels: list[int], balanced: bool
) -> None:
    target = torch.tensor([*labels, 0, 1])
    weights = "balanced" if balanced else "none"
    training = make_training(loss={"class_weights": weights, "auxiliary_weight": 0.4})
    loss = Loss(training.loss, target, CPU)
    logits = torch.randn(len(target), 2, generator=torch.Generator().manual_seed(0))
    whole = loss(logits, target)
    cut = [Processes(CPU, rank, parts).part(torch.arange(len(target))) for rank in range(parts)]
    total = sum(loss.share(target[part], target) * loss(logits[part], target[part]) for part in cut)
    assert isinstance(total, Tensor)
    assert torch.isclose(total, whole, rtol=1e-5)


def test_batch_norm_is_synchronised_on_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.nn.parallel, "DistributedDataParallel", lambda network, *_, **__: network
    )
    network = make_network()
    converted = Processes(torch.device("cuda"), 0, 2).wrap(copy.deepcopy(network))
    assert isinstance(converted[1], torch.nn.SyncBatchNorm)
    for processes in (Processes(torch.device("cuda")), Processes(CPU, 0, 2)):
        assert processes.wrap(network) is network


# ---------------------------------------------------------------- processes of their own


def _workers(parent: int) -> list[psutil.Process]:
    """The training processes, without multiprocessing's resource tracker."""
    children = psutil.Process(parent).children(recursive=True)
    return [each for each in children if "spawn_main" in " ".join(each.cmdline())]


def _when_an_epoch_is_saved(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """Act in a thread, as soon as there is a checkpoint."""

    def wait() -> None:
        while not list(folder.glob("checkpoints/*.pt")):
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert not _workers(os.getpid())


def test_two_processes_listen_on_the_loopback_interface_alone_and_train_as_one(
    tmp_path: Path,
) -> None:
    task = make_task(tmp_path, epochs=20, devices=2)
    listening: list[str] = []

    def look() -> None:
        workers = _workers(os.getpid())
        assert len(workers) == 2
        for each in [psutil.Process(), *workers]:
            for connection in each.net_connections(kind="inet"):
                assert connection.laddr.ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1")
                listening.append(connection.status)
        listening.append("done")

    thread = _when_an_epoch_is_saved(tmp_path, look)
    result = run_task(task)
    thread.join()
    assert listening[-1] == "done"
    assert psutil.CONN_LISTEN in listening

    # the logits are those of the best weights, in the order of the images
    network, _ = task.build_network()
    network.load_state_dict(result.best_weights)
    _, validation = task.open_pixels()
    alone = Trainer(
        network, ["fc"], validation, validation, task.settings.preprocessing,
        task.settings.training, precision="fp32", processes=Processes(CPU),
    )  # fmt: skip
    _, accuracy, logits = alone.validate(1)
    assert result.validation_logits is not None
    np.testing.assert_allclose(result.validation_logits, logits, rtol=1e-3, atol=1e-4)
    assert result.chosen.validation_accuracy == pytest.approx(accuracy)


def test_a_killed_process_is_named_and_the_last_saved_epoch_stays(tmp_path: Path) -> None:
    task = make_task(tmp_path, epochs=1000, devices=2)

    def kill_one() -> None:
        _workers(os.getpid())[1].kill()

    _when_an_epoch_is_saved(tmp_path, kill_one)
    with pytest.raises(UserError, match=r"^training process \d .*SIGKILL.*memory") as caught:
        run_task(task)
    assert "\n" not in str(caught.value)
    assert task.checkpoints.load(task.run) is not None
    assert str(task.checkpoints.path(task.run)) in str(caught.value)


def test_an_unexpected_error_of_a_process_is_shown_once(tmp_path: Path) -> None:
    task = make_task(tmp_path, devices=2)
    network, heads = task.build_network()
    broken = replace(task, split=task.split.assign(label=task.split["label"] + 7))
    with pytest.raises(UserError, match=r"^training process \d failed") as caught:
        train(broken, network, heads, None)
    assert str(caught.value).count("Traceback") == 1


def test_an_error_for_the_user_comes_from_a_process_as_it_is(tmp_path: Path) -> None:
    task = make_task(tmp_path, devices=2, batch_size=3)
    with pytest.raises(UserError, match=r"^parameter 'training\.batch_size'"):
        run_task(task)


def test_a_process_that_may_start_no_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(tmp_path, devices=2)
    monkeypatch.setitem(torch.multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(UserError, match=r"'training\.devices'"):
        run_task(task)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from training_samples import make_task, run_task
folder = Path({folder!r})
run_task(make_task(folder, epochs=1000, devices=2))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_all_processes_end_with_the_one_that_started_them(tmp_path: Path, name: str) -> None:
    # here, so that the other process starts none of joblib's, which stay for a while
    make_task(tmp_path)
    code = SCRIPT.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    workers: list[psutil.Process] = []

    def end() -> None:
        workers.extend(_workers(process.pid))
        if name == "SIGKILL":
            process.kill()
        else:
            # as a terminal does: to all processes
            os.killpg(process.pid, signal.SIGINT)

    _when_an_epoch_is_saved(tmp_path, end).join(timeout=120)
    _, said = process.communicate(timeout=30)
    assert len(workers) == 2
    _, alive = psutil.wait_procs(workers, timeout=20)
    for each in alive:
        each.kill()
    assert not alive, said
    assert process.returncode != 0
    if name == "SIGINT":
        # one traceback: that of the process which was interrupted
        assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1, said
    states = TrainingCheckpoints(tmp_path / "checkpoints")
    assert states.load("a" * 64) is not None
