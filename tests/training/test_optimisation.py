"""Optimiser, schedule and loss."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from deepfake_detection.parameters import LossParameters, OptimizerParameters, ScheduleParameters
from deepfake_detection.training.optimisation import Loss, build_optimizer, build_schedule

ADAM = OptimizerParameters(
    name="adam", lr=1e-4, head_lr_multiple=10, betas=(0.9, 0.999), weight_decay=0.01
)
CPU = torch.device("cpu")


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
    optimizer = build_optimizer(*([nn.Parameter(torch.ones(2))] for _ in range(2)), ADAM)
    for group in optimizer.param_groups:
        assert group["weight_decay"] == 0.01
        assert group["betas"] == (0.9, 0.999)
    schedule = build_schedule(optimizer, ScheduleParameters(name=name, step_size=5, gamma=0.5), 20)
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
    balanced = LossParameters(class_weights="balanced", auxiliary_weight=0.4)
    assert torch.isclose(Loss(balanced, labels, CPU)(logits, labels), expected)


def test_auxiliary_outputs_count_at_their_weight():
    labels = torch.tensor([1, 0, 1, 1])
    main, first, second = torch.randn(4, 2), torch.randn(4, 2), torch.randn(4, 2)
    plain = LossParameters(class_weights="none", auxiliary_weight=0.4)
    loss = Loss(plain, labels, CPU)
    auxiliary = F.cross_entropy(first, labels) + F.cross_entropy(second, labels)
    expected = F.cross_entropy(main, labels) + 0.4 * auxiliary
    assert torch.isclose(loss((main, first, second), labels), expected)
    assert torch.isclose(loss(main, labels), F.cross_entropy(main, labels))
