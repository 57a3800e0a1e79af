"""Processes of one machine train as one does, and end as one."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.multiprocessing import start_processes
from training_samples import (
    CPU,
    make_network,
    make_pictures,
    make_task,
    make_trainer,
    make_training,
    run_task,
)

from deepfake_detection.errors import UserError
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import Processes
from deepfake_detection.training.launch import join_group
from deepfake_detection.training.loop import Trainer
from deepfake_detection.training.optimisation import Loss

# more fakes than real ones, so that parts of a batch differ in their weights
PICTURES = make_pictures(31, seed=1)
CHOSEN = (PICTURES.labels == 1) | (torch.arange(31) % 3 == 0)
PICTURES = replace(PICTURES, rows=PICTURES.rows[CHOSEN], labels=PICTURES.labels[CHOSEN])


def _first_step(processes):
    """Gradients of the first step, and what the epoch says of it."""
    # balanced: each picture weighs what it weighs in the whole batch
    loss = {"class_weights": "balanced", "auxiliary_weight": 0.4}
    training = make_training(batch_size=len(PICTURES), loss=loss)
    network = make_network(normalised=False)
    trainer = make_trainer(network, training, pictures=(PICTURES, PICTURES), processes=processes)
    means = trainer.train(1)
    gradients = {name: each.grad.clone() for name, each in network.named_parameters()}
    *validation, logits = trainer.validate()
    return gradients, (*means, *validation), torch.from_numpy(logits)


def _take_first_step(rank, folder):
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


def test_the_first_steps_gradients_are_those_of_one_process(tmp_path):
    gradients, numbers, logits = _first_step(Processes(CPU))
    start_processes(_take_first_step, (tmp_path,), 2, start_method="spawn")
    for rank in range(2):
        theirs = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, gradient in gradients.items():
            assert (theirs[0][name] - gradient).norm() <= 1e-5 * gradient.norm(), name
        assert theirs[1] == pytest.approx(numbers, rel=1e-5)
        torch.testing.assert_close(theirs[2], logits, rtol=1e-4, atol=1e-5)


@given(st.integers(1, 5), st.lists(st.integers(0, 1), min_size=12, max_size=40), st.booleans())
def test_weighted_losses_of_parts_are_the_mean_loss_of_the_batch(parts, labels, balanced):
    target = torch.tensor([*labels, 0, 1])
    weights = "balanced" if balanced else "none"
    settings = make_training(loss={"class_weights": weights, "label_smoothing": 0.1}).loss
    loss = Loss(settings, target, CPU)
    logits = torch.randn(len(target), 2, generator=torch.Generator().manual_seed(0))
    cut = [Processes(CPU, rank, parts).part(torch.arange(len(target))) for rank in range(parts)]
    total = sum(loss.share(target[part], target) * loss(logits[part], target[part]) for part in cut)
    assert torch.isclose(total, loss(logits, target), rtol=1e-5)


def test_batch_norm_is_synchronised_on_gpus_alone(monkeypatch):
    parallel = "torch.nn.parallel.DistributedDataParallel"
    monkeypatch.setattr(parallel, lambda network, *_, **__: network)
    network, gpu = make_network(), torch.device("cuda")
    for processes in (Processes(gpu), Processes(CPU, 0, 2)):
        assert processes.wrap(network) is network
    assert isinstance(Processes(gpu, 0, 2).wrap(network)[1], torch.nn.SyncBatchNorm)


def _workers(parent):
    """The training processes, without multiprocessing's resource tracker."""
    children = psutil.Process(parent).children(recursive=True)
    return [each for each in children if "spawn_main" in _command_of(each)]


def _command_of(process):
    try:
        return " ".join(process.cmdline())
    # such as one of joblib's that other tests left
    except psutil.ZombieProcess:
        return ""


def _when_an_epoch_is_saved(folder, act):
    """Act in a thread, as soon as there is a checkpoint."""

    def wait():
        while not list(folder.glob("checkpoints/[!.]*.pt")):
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    assert not _workers(os.getpid())


def test_two_processes_listen_on_the_loopback_interface_alone_and_train_as_one(tmp_path):
    task = make_task(tmp_path, epochs=20, devices=2)
    connections, seen = [], []

    def look():
        seen.extend(_workers(os.getpid()))
        for each in [psutil.Process(), *seen]:
            connections.extend(each.net_connections(kind="inet"))

    thread = _when_an_epoch_is_saved(tmp_path, look)
    result = run_task(task)
    thread.join()
    assert len(seen) == 2
    assert {each.laddr.ip for each in connections} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert psutil.CONN_LISTEN in {each.status for each in connections}

    # the logits are those of the best weights, in the order of the images
    network, _ = task.build_network()
    network.load_state_dict(result.best_weights)
    _, validation = task.open_pixels()
    alone = Trainer(
        network, ["fc"], validation, validation, task.settings.preprocessing,
        task.settings.training, precision="fp32", processes=Processes(CPU),
    )  # fmt: skip
    _, accuracy, logits = alone.validate()
    np.testing.assert_allclose(result.validation_logits, logits, rtol=1e-3, atol=1e-4)
    assert result.chosen.validation_accuracy == pytest.approx(accuracy)


def test_a_killed_process_is_named_and_the_last_saved_epoch_stays(tmp_path):
    task = make_task(tmp_path, epochs=1000, devices=2)
    _when_an_epoch_is_saved(tmp_path, lambda: [each.kill() for each in _workers(os.getpid())[1:]])
    with pytest.raises(UserError, match=r"^training process \d .*SIGKILL") as caught:
        run_task(task)
    assert "\n" not in str(caught.value)
    assert task.checkpoints.load(task.run) is not None
    assert str(task.checkpoints.path(task.run)) in str(caught.value)


def test_an_unexpected_error_of_a_process_is_shown_once_and_one_for_the_user_as_it_is(tmp_path):
    task = make_task(tmp_path, devices=2)
    broken = replace(task, split=task.split.assign(label=task.split["label"] + 7))
    with pytest.raises(UserError, match=r"^training process \d failed") as caught:
        run_task(broken)
    assert str(caught.value).count("Traceback") == 1
    with pytest.raises(UserError, match=r"^parameter 'training\.batch_size'"):
        run_task(make_task(tmp_path, devices=2, batch_size=3))


def test_a_process_that_may_start_no_others_is_refused(tmp_path, monkeypatch):
    task = make_task(tmp_path, devices=2)
    monkeypatch.setitem(torch.multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(UserError, match=r"'training\.devices'"):
        run_task(task)


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from training_samples import make_task, run_task
run_task(make_task(Path({folder!r}), epochs=100_000, devices=2))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
@pytest.mark.parametrize("name", [pytest.param("SIGINT", marks=pytest.mark.slow), "SIGKILL"])
def test_all_processes_end_with_the_one_that_started_them(tmp_path, name):
    # here, so that the other process starts none of joblib's, which stay for a while
    make_task(tmp_path)
    code = SCRIPT.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    workers = []

    def end():
        workers.extend(_workers(process.pid))
        # Ctrl-C in a terminal reaches all processes
        os.killpg(process.pid, signal.SIGINT) if name == "SIGINT" else process.kill()

    try:
        # starting takes a minute on a busy machine
        _when_an_epoch_is_saved(tmp_path, end)
        _, said = process.communicate(timeout=500)
    finally:
        process.kill()
        _, alive = psutil.wait_procs(workers, timeout=60)
        for each in alive:
            each.kill()
    assert len(workers) == 2, said
    assert not alive, said
    assert process.returncode != 0
    if name == "SIGINT":
        # one traceback: that of the process which was interrupted
        assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1, said
    assert TrainingCheckpoints(tmp_path / "checkpoints").load("a" * 64) is not None
