"""The training loop: what it learns, keeps and stops at."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from deepfake_detection.detector.detector import Normalise, to_batch
from deepfake_detection.learning.loop import (
    Fit,
    LabelledPixels,
    NonFiniteLossError,
    batch_order,
    fit_network,
)
from deepfake_detection.parameters import PreprocessingParameters, TrainingParameters

SIZE = 12
PREPROCESSING = PreprocessingParameters(
    resize=SIZE, crop=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)
CPU = torch.device("cpu")


def _training(**changes: Any) -> TrainingParameters:
    settings: dict[str, Any] = {
        "weights": "none",
        "epochs": 6,
        "batch_size": 8,
        "shuffle": True,
        "optimizer": {
            "name": "adam", "lr": 0.003, "head_lr_multiple": 3, "betas": [0.9, 0.999],
            "weight_decay": 0.0,
        },
        "schedule": {"name": "none", "step_size": 2, "gamma": 0.5},
        "loss": {"class_weights": "none", "auxiliary_weight": 0.4},
        "augmentation": {"flip": 0.5, "rotation": 10},
        "early_stopping": {"patience": None},
        "device": "cpu",
        "seed": 3,
    }  # fmt: skip
    return TrainingParameters.model_validate(settings | changes)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def _pictures(count: int, seed: int, noise: float = 60) -> LabelledPixels:
    """Fakes are a little redder, half hidden in noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    array = generator.normal(120, noise, (count, SIZE, SIZE, 3))
    array[..., 0] += 30 * labels[:, None, None]
    return LabelledPixels(
        array.clip(0, 255).astype(np.uint8), np.arange(count), torch.from_numpy(labels)
    )


TRAIN, VALIDATION = _pictures(61, seed=1), _pictures(40, seed=2)


def _fit(network: nn.Module | None = None, **changes: Any) -> Fit:
    network = network or _network()
    return fit_network(network, ["5"], TRAIN, VALIDATION, PREPROCESSING, _training(**changes), CPU)


def test_it_learns_what_can_be_learned() -> None:
    result = _fit(epochs=12)
    assert result.chosen.validation_accuracy > 0.85
    assert result.history[-1].train_loss < result.history[0].train_loss


def test_the_same_seed_gives_the_same_numbers_bit_for_bit() -> None:
    first, second = _fit(), _fit()
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.best_weights.values(), second.best_weights.values(), strict=True)
    )
    assert [e.train_loss for e in first.history] == [e.train_loss for e in second.history]


def test_another_seed_gives_other_numbers() -> None:
    assert _fit(seed=4).history[0].train_loss != _fit().history[0].train_loss


def test_the_best_weights_are_those_of_the_best_epoch_not_of_the_last() -> None:
    # a rate so high that validation accuracy jumps about
    optimizer = _training().optimizer.model_dump() | {"lr": 0.3}
    network = _network()
    result = _fit(network, epochs=12, optimizer=optimizer)
    accuracies = [epoch.validation_accuracy for epoch in result.history]
    best = accuracies.index(max(accuracies))  # the first of equals
    assert result.chosen.epoch == best + 1 < len(accuracies)

    last = network.state_dict()
    assert any(not torch.equal(last[name], result.best_weights[name]) for name in last)
    network.load_state_dict(result.best_weights)
    assert _accuracy(network.eval()) == pytest.approx(max(accuracies))


def _accuracy(network: nn.Module) -> float:
    with torch.inference_mode():
        logits = network(Normalise(PREPROCESSING)(to_batch(VALIDATION.array, CPU)))
    return (logits.argmax(1) == VALIDATION.labels).float().mean().item()


def test_the_history_records_the_rates_that_the_schedule_set() -> None:
    schedule = {"name": "step", "step_size": 2, "gamma": 0.5}
    result = _fit(schedule=schedule)
    rates = [0.003, 0.003, 0.0015, 0.0015, 0.00075, 0.00075]
    assert [epoch.learning_rate for epoch in result.history] == pytest.approx(rates)
    assert [e.head_learning_rate for e in result.history] == pytest.approx([3 * r for r in rates])
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3, 4, 5, 6]


def test_a_falling_schedule_ends_elsewhere_than_none() -> None:
    none, step = _fit(), _fit(schedule={"name": "step", "step_size": 1, "gamma": 0.1})
    assert none.history[0].train_loss == step.history[0].train_loss
    assert none.history[-1].train_loss != step.history[-1].train_loss


def test_early_stopping_waits_for_its_patience() -> None:
    result = _fit(epochs=50, early_stopping={"patience": 3})
    assert result.history[-1].epoch == result.chosen.epoch + 3 < 50


def test_the_head_alone_learns_when_the_rest_has_next_to_no_rate() -> None:
    before = {name: value.clone() for name, value in _network().state_dict().items()}
    optimizer = _training().optimizer.model_dump() | {"lr": 1e-12, "head_lr_multiple": 1e10}
    network = _network()
    _fit(network, epochs=1, optimizer=optimizer)
    after = network.state_dict()
    assert torch.allclose(after["0.weight"], before["0.weight"], atol=1e-8)
    assert not torch.allclose(after["5.weight"], before["5.weight"], atol=1e-4)


class _Breaking(nn.Module):
    """Works for some epochs, then gives infinity."""

    def __init__(self, epochs: int, training: bool) -> None:
        super().__init__()
        self.inner, self.left, self.breaks_in_training = _network(), epochs, training

    def train(self, mode: bool = True) -> "_Breaking":
        self.left -= mode
        return super().train(mode)  # type: ignore[return-value]

    def forward(self, pictures: Tensor) -> Tensor:
        broken = self.left < 0 and self.training == self.breaks_in_training
        return self.inner(pictures) * (torch.inf if broken else 1)


@pytest.mark.parametrize("training", [True, False])
def test_a_loss_that_is_not_finite_stops_at_the_epochs_end_and_keeps_the_best(
    training: bool,
) -> None:
    network = _Breaking(3, training)
    with pytest.raises(NonFiniteLossError) as caught:
        fit_network(
            network, ["inner.5"], TRAIN, VALIDATION, PREPROCESSING, _training(epochs=9), CPU
        )
    assert caught.value.epoch == 4
    assert caught.value.subset == ("training" if training else "validation")
    kept = caught.value.fit
    assert len(kept.history) == 3
    assert all(torch.isfinite(value).all() for value in kept.best_weights.values())


@given(st.integers(1, 300), st.integers(2, 70), st.booleans(), st.integers(0, 2**31))
def test_batches_hold_each_picture_once_and_none_is_alone(
    count: int, batch_size: int, shuffle: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    batches = batch_order(count, batch_size, shuffle, generator)
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert all(len(batch) <= batch_size + 1 for batch in batches)
    if count > 1:
        assert all(len(batch) > 1 for batch in batches)


def test_a_batch_keeps_pictures_and_labels_together() -> None:
    pictures = _pictures(20, seed=5)
    array, rows = pictures.array[::-1].copy(), pictures.rows[::-1].copy()
    turned = LabelledPixels(array, rows, pictures.labels)
    chosen = torch.tensor([7, 2, 19])
    batch, labels = turned.batch(chosen, CPU)
    expected, expected_labels = pictures.batch(chosen, CPU)
    assert torch.equal(batch, expected)
    assert torch.equal(labels, expected_labels)
    assert sorted(labels.tolist()) == sorted(pictures.labels[chosen].tolist())
