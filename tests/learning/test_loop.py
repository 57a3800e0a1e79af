"""The training loop: what it learns, keeps and stops at."""

import io
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from deepfake_detection.detector.detector import Normalise, to_batch
from deepfake_detection.learning.batches import Feed, LabelledPixels, batch_order
from deepfake_detection.learning.loop import Fit, Trainer, fit_network
from deepfake_detection.learning.processes import Processes
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
        "devices": 1,
        "machines": 1,
        "rendezvous": None,
        "precision": "fp32",
        "compile": False,
        "seed": 3,
        "state": {"minutes": 0, "resume": True},
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


def _trainer(
    network: nn.Module, training: TrainingParameters, head: str = "5", precision: str = "fp32"
) -> Trainer:
    return Trainer(
        network, [head], TRAIN, VALIDATION, PREPROCESSING, training,
        precision=precision, processes=Processes.alone(CPU),
    )  # fmt: skip


def _fit(network: nn.Module | None = None, precision: str = "fp32", **changes: Any) -> Fit:
    training = _training(**changes)
    return fit_network(_trainer(network or _network(), training, precision=precision), training)


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
    recipe = _training(epochs=9)
    fit = fit_network(_trainer(_Breaking(3, training), recipe, "inner.5"), recipe)
    assert fit.not_finite == ("training" if training else "validation")
    assert len(fit.history) == 3
    assert all(torch.isfinite(value).all() for value in fit.best_weights.values())


@pytest.mark.parametrize("interrupted_after", [1, 2, 5])
@pytest.mark.parametrize("schedule", ["none", "step", "exponential", "cosine"])
def test_a_training_that_goes_on_ends_with_the_same_weights_bit_for_bit(
    interrupted_after: int, schedule: str
) -> None:
    training = _training(schedule={"name": schedule, "step_size": 2, "gamma": 0.5})
    whole = fit_network(_trainer(uninterrupted := _network(), training), training)

    class Interruption(Exception):  # noqa: N818
        pass

    kept: dict[str, Any] = {}
    first = _trainer(_network(), training)

    def keep(fit: Fit) -> None:
        if len(fit.history) == interrupted_after:
            torch.save({"trainer": first.state_dict(), "fit": fit.state_dict()}, file)
            raise Interruption

    file = io.BytesIO()
    with pytest.raises(Interruption):
        fit_network(first, training, after_epoch=keep)
    file.seek(0)
    kept = torch.load(file, weights_only=True)

    torch.manual_seed(99)  # whatever was drawn before plays no part
    second = _trainer(resumed := _network(), training)
    second.load_state_dict(kept["trainer"])
    fit = fit_network(second, training, Fit.from_state_dict(kept["fit"]))
    _assert_equal(resumed.state_dict(), uninterrupted.state_dict())
    _assert_equal(fit.best_weights, whole.best_weights)
    assert _without_times(fit) == _without_times(whole)
    assert fit.chosen.epoch == whole.chosen.epoch


def _assert_equal(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def _without_times(fit: Fit) -> list[tuple[float, ...]]:
    return [astuple(epoch)[:-2] for epoch in fit.history]


def test_bf16_learns_the_same_and_leaves_weights_in_full_precision() -> None:
    full, half = _fit(epochs=12), _fit(precision="bf16", epochs=12)
    assert half.history[0].train_loss != full.history[0].train_loss
    assert half.chosen.validation_accuracy == pytest.approx(
        full.chosen.validation_accuracy, abs=0.1
    )
    assert {value.dtype for value in half.best_weights.values()} == {torch.float32, torch.int64}


def test_the_network_computes_in_bf16_when_told_to() -> None:
    seen = []
    network = _network()
    network[5].register_forward_hook(lambda *call: seen.append(call[2].dtype))
    _fit(network, precision="bf16", epochs=1)
    assert set(seen) == {torch.bfloat16}


@given(st.integers(1, 300), st.integers(2, 70), st.booleans(), st.integers(0, 2**31))
def test_batches_hold_each_picture_once_and_none_is_alone(
    count: int, batch_size: int, shuffle: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    batches = batch_order(count, batch_size, shuffle, generator)
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    assert all(len(batch) <= batch_size + 1 for batch in batches)
    assert all((batch.diff() > 0).all() for batch in batches)
    if count > 1:
        assert all(len(batch) > 1 for batch in batches)


@given(st.integers(8, 300), st.integers(8, 70), st.integers(2, 4))
def test_every_process_has_two_pictures_of_each_batch_and_none_twice(
    count: int, batch_size: int, parts: int
) -> None:
    batches = batch_order(count, batch_size, True, torch.Generator(), parts)
    ranks = [Processes(rank, parts, 0, CPU) for rank in range(parts)]
    for batch in batches:
        cut = [rank.part(batch) for rank in ranks]
        assert min(len(part) for part in cut) >= 2
        assert sorted(torch.cat(cut).tolist()) == batch.tolist()


def test_batches_keep_pictures_and_labels_together() -> None:
    pictures = _pictures(20, seed=5)
    array, rows = pictures.array[::-1].copy(), pictures.rows[::-1].copy()
    turned = LabelledPixels(array, rows, pictures.labels)
    order = [torch.tensor([2, 7, 19]), torch.tensor([0]), torch.tensor([1, 3])]
    for resident in (False, True):
        brought = list(Feed(turned, CPU, resident=resident).batches(order))
        assert len(brought) == len(order)
        for chosen, (batch, labels) in zip(order, brought, strict=True):
            assert torch.equal(batch, to_batch(pictures.array[chosen.numpy()], CPU))
            assert torch.equal(labels, pictures.labels[chosen])
