"""Optimiser, schedule and loss."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from training_samples import make_network, make_training

from deepfake_detection.training.optimisation import Average, Loss, build_optimizer, build_schedule
from deepfake_detection.training.tuning import group_parameters

CPU = torch.device("cpu")


def _build_optimizer(training):
    backbone, head = group_parameters(make_network(), ["5"], training.tune, training.optimizer)
    return build_optimizer([*backbone, *head], training.optimizer)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("none", lambda _: 1.0),
        ("step", lambda epoch: 0.5 ** (epoch // 5)),
        ("exponential", lambda epoch: 0.5**epoch),
        ("cosine", lambda epoch: (1 + math.cos(math.pi * epoch / 20)) / 2),
    ],
)
def test_a_schedule_changes_both_rates_after_each_epoch(name, factor):
    training = make_training(
        optimizer={"lr": 1e-4, "head_lr_multiple": 10, "weight_decay": 0.01},
        schedule={"name": name, "step_size": 5, "gamma": 0.5},
    )
    optimizer = _build_optimizer(training)
    for group in optimizer.param_groups:
        assert group["weight_decay"] == 0.01
        assert group["betas"] == (0.9, 0.999)
    schedule = build_schedule(optimizer, training.schedule, 20, 7)
    for epoch in range(20):
        backbone, head = (group["lr"] for group in optimizer.param_groups)
        assert math.isclose(backbone, 1e-4 * factor(epoch), rel_tol=1e-9)
        assert math.isclose(head, 1e-3 * factor(epoch), rel_tol=1e-9)
        optimizer.step()
        schedule.step()


def test_balanced_class_weights_are_scikit_learns():
    labels = torch.tensor([1] * 20 + [0] * 10)
    logits = torch.randn(30, 2)
    weights = compute_class_weight("balanced", classes=np.array([0, 1]), y=labels.numpy())
    expected = F.cross_entropy(logits, labels, weight=torch.tensor(weights, dtype=torch.float32))
    balanced = make_training(loss={"class_weights": "balanced"}).loss
    assert torch.isclose(Loss(balanced, labels, CPU)(logits, labels), expected)


def test_auxiliary_outputs_count_at_their_weight():
    labels = torch.tensor([1, 0, 1, 1])
    main, first, second = torch.randn(4, 2), torch.randn(4, 2), torch.randn(4, 2)
    plain = make_training().loss
    loss = Loss(plain, labels, CPU)
    auxiliary = F.cross_entropy(first, labels) + F.cross_entropy(second, labels)
    expected = F.cross_entropy(main, labels) + 0.4 * auxiliary
    assert torch.isclose(loss((main, first, second), labels), expected)
    assert torch.isclose(loss(main, labels), F.cross_entropy(main, labels))


def _rates(name, warmup, epochs=4, steps=5):
    training = make_training(
        optimizer={"name": "sgd", "lr": 0.1, "head_lr_multiple": 10},
        schedule={"name": name, "warmup": warmup},
    )
    optimizer = _build_optimizer(training)
    schedule = build_schedule(optimizer, training.schedule, epochs, steps)
    rates = []
    for _ in range(epochs * steps):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return np.array(rates)


@pytest.mark.parametrize(("name", "warmup"), [("one_cycle", 0.3), ("cosine_steps", 0.25)])
def test_a_schedule_by_step_rises_to_each_rate_and_falls_to_almost_nothing(name, warmup):
    rates = _rates(name, warmup)
    assert rates[:, 1] == pytest.approx(10 * rates[:, 0])
    top = rates[:, 0].argmax()
    # the highest rate may lie between two steps
    assert rates[top, 0] == pytest.approx(0.1, rel=0.01)
    assert top == pytest.approx(warmup * 20, abs=1)
    assert (np.diff(rates[: top + 1, 0]) > 0).all()
    assert (np.diff(rates[top:, 0]) < 0).all()
    assert rates[-1, 0] < 0.02 * 0.1


def test_a_cosine_without_warm_up_starts_at_the_rate():
    expected = 0.1 * (1 + np.cos(np.pi * np.arange(20) / 20)) / 2
    assert _rates("cosine_steps", 0.0)[:, 0] == pytest.approx(expected)


def test_labels_are_smoothed_in_training_alone():
    labels, logits = torch.tensor([1, 0, 1]), torch.randn(3, 2)
    loss = Loss(make_training(loss={"label_smoothing": 0.2}).loss, labels, CPU)
    targets = torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.1, 0.9]])
    assert torch.isclose(loss(logits, labels, smooth=True), F.cross_entropy(logits, targets))
    assert torch.isclose(loss(logits, labels), F.cross_entropy(logits, labels))


def test_the_average_follows_its_formula_and_goes_on_from_its_state():
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average, expected = Average(network, 0.6), None
    for step in range(12):
        with torch.no_grad():
            for value in (*network.parameters(), *network.buffers()):
                if value.is_floating_point():
                    value.copy_(torch.randn_like(value))
        if step == 6:
            state = {name: value.clone() for name, value in average.state_dict().items()}
            average = Average(network, 0.6)
            average.load_state_dict(state)
        average.update(network)
        now = {name: value.double().clone() for name, value in network.state_dict().items()}
        decay = min(0.6, (1 + step) / (10 + step))
        expected = expected or now
        expected = {name: decay * expected[name] + (1 - decay) * now[name] for name in now}
        for name, value in average.network.state_dict().items():
            if value.is_floating_point():
                assert torch.allclose(value.double(), expected[name], atol=1e-5), (step, name)
