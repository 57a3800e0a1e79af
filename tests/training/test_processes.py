"""Two processes on this machine train as one does."""

import copy
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from training_samples import CPU, PREPROCESSING, make_network, make_pictures, make_training

from deepfake_detection.training.loop import Trainer
from deepfake_detection.training.optimisation import Loss
from deepfake_detection.training.processes import Processes, joined

WORKERS = 2
# more fakes than real ones, so that parts of a batch differ in what they weigh
PICTURES = make_pictures(31, seed=1)
PICTURES = replace(
    PICTURES,
    rows=PICTURES.rows[(PICTURES.labels == 1) | (torch.arange(31) % 3 == 0)],
    labels=PICTURES.labels[(PICTURES.labels == 1) | (torch.arange(31) % 3 == 0)],
)


def _first_step(processes: Processes, class_weights: str) -> dict[str, Any]:
    """Gradients of the first step, and what the epoch says of it."""
    training = make_training(
        batch_size=len(PICTURES), loss={"class_weights": class_weights, "auxiliary_weight": 0.4}
    )
    network = make_network(normalised=False)
    trainer = Trainer(
        network, ["5"], PICTURES, PICTURES, PREPROCESSING, training,
        precision="fp32", processes=processes,
    )  # fmt: skip
    means = trainer.train(1)
    gradients = {name: each.grad.clone() for name, each in network.named_parameters()}
    return {"gradients": gradients, "means": means, "validation": trainer.validate(1)}


def _work(folder: str, class_weights: str) -> None:
    torch.set_num_threads(1)
    with joined(CPU, keeps=False) as processes:
        # without a keeper, the first counts as it
        assert processes.keeper == 0
        result = _first_step(processes, class_weights)
        spread = processes.spread({"weights": torch.arange(5)} if processes.keeps else None)
        assert torch.equal(spread["weights"], torch.arange(5))
        network = torch.nn.BatchNorm1d(2)
        network.running_mean.fill_(processes.rank)
        processes.average_buffers(network)
        assert network.running_mean.tolist() == [0.5, 0.5]
        torch.save(result, Path(folder) / f"{processes.rank}.pt")


def _launch(folder: Path, class_weights: str) -> list[dict[str, Any]]:
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=WORKERS, run_id="test", rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, start_method="spawn", local_addr="localhost",
    )  # fmt: skip
    # elastic leaves its own handlers, with which Ctrl-C means nothing to later tests
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    before = {each: signal.getsignal(each) for each in names}
    try:
        elastic_launch(config, _work)(str(folder), class_weights)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORKERS)]


def test_the_first_steps_gradients_are_those_of_one_process(tmp_path: Path) -> None:
    # balanced: each picture weighs what it weighs in the whole batch
    alone = _first_step(Processes.alone(CPU), "balanced")
    for together in _launch(tmp_path, "balanced"):
        for name, gradient in alone["gradients"].items():
            error = (together["gradients"][name] - gradient).norm() / gradient.norm()
            assert error <= 1e-5, name
        assert together["means"] == pytest.approx(alone["means"], rel=1e-5)
        assert together["validation"] == pytest.approx(alone["validation"], rel=1e-5)


@given(st.integers(1, 5), st.lists(st.integers(0, 1), min_size=12, max_size=40), st.booleans())
def test_means_of_parts_at_their_shares_are_the_mean_of_the_batch(
    parts: int, labels: list[int], balanced: bool
) -> None:
    """What the gradients' mean over processes rests on."""
    target = torch.tensor([*labels, 0, 1])
    training = make_training(
        loss={"class_weights": "balanced" if balanced else "none", "auxiliary_weight": 0.4}
    )
    loss = Loss(training.loss, target, CPU)
    logits = torch.randn(len(target), 2, generator=torch.Generator().manual_seed(0))
    whole = loss(logits, target)
    ranks = [Processes(rank, parts, 0, CPU) for rank in range(parts)]
    cut = [rank.part(torch.arange(len(target))) for rank in ranks]
    total = sum(loss.share(target[part], target) * loss(logits[part], target[part]) for part in cut)
    assert isinstance(total, Tensor)
    assert torch.isclose(total, whole, rtol=1e-5)


def test_batch_norm_is_synchronised_on_gpus_alone() -> None:
    network = make_network()
    gpu = Processes(0, 2, 0, torch.device("cuda"))
    converted = gpu.synchronise_batch_norm(copy.deepcopy(network))
    assert isinstance(converted[1], torch.nn.SyncBatchNorm)
    for processes in (Processes.alone(torch.device("cuda")), Processes(0, 2, 0, CPU)):
        assert processes.synchronise_batch_norm(network) is network
