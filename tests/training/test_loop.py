"""The training loop: what it learns, keeps and stops at."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from training_samples import (
    BLENDED,
    CPU,
    EVERYTHING,
    PREPROCESSING,
    TRAIN,
    VALIDATION,
    fit,
    make_network,
    make_pictures,
    make_trainer,
    make_training,
)

from deepfake_detection.models.forward import FAKE, REAL, Normalise, to_batch
from deepfake_detection.training.batches import BatchLoader, LabelledPixels, fit_on
from deepfake_detection.training.loop import train_network
from deepfake_detection.training.results import TrainResult


def test_the_best_weights_are_those_of_the_best_epoch_not_of_the_last():
    # a rate so high that validation accuracy jumps about
    optimizer = make_training().optimizer.model_dump() | {"lr": 0.3}
    network = make_network()
    result = fit(network, epochs=12, optimizer=optimizer)
    accuracies = [epoch.validation_accuracy for epoch in result.history]
    best = accuracies.index(max(accuracies))  # the first of equals
    assert result.chosen.epoch == best + 1 < len(accuracies)

    last = network.state_dict()
    assert any(not torch.equal(last[name], result.best_weights[name]) for name in last)
    network.load_state_dict(result.best_weights)
    with torch.inference_mode():
        pixels = to_batch(VALIDATION.array, CPU)
        outputs = network.eval()(Normalise(PREPROCESSING)(pixels)).double().numpy()
    logits = outputs[:, FAKE] - outputs[:, REAL]
    labels = VALIDATION.labels.numpy() == 1
    assert ((logits > 0) == labels).mean() == pytest.approx(max(accuracies))
    np.testing.assert_allclose(result.validation_logits, logits, atol=1e-5)


def test_one_bar_of_all_epochs_tells_loss_and_time_left(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    network, training = make_network(), make_training(epochs=3)
    trainer = make_trainer(network, training)
    # each update is drawn, of two finished epochs of three to the last
    bar = trainer.open_bar(2, 3)
    bar.mininterval = 0
    trainer.train(3)
    trainer.validate()
    assert bar.n == bar.total
    drawn = terminal.getvalue().split("\r")
    assert any(re.search(r"Epoch 3/3.* 6\d %", each) for each in drawn)
    assert re.search(r"100 %, 00:00 left, loss=\d\.\d{3}", drawn[-1])


def test_early_stopping_waits_for_its_patience_and_the_history_has_the_schedules_rates():
    schedule = {"name": "step", "step_size": 2, "gamma": 0.5}
    result = fit(epochs=50, early_stopping={"patience": 3}, schedule=schedule)
    assert result.history[-1].epoch == result.chosen.epoch + 3 < 50
    for number, epoch in enumerate(result.history):
        assert epoch.epoch == number + 1
        assert epoch.learning_rate == pytest.approx(0.003 * 0.5 ** (number // 2))
        assert epoch.head_learning_rate == pytest.approx(3 * epoch.learning_rate)


def test_the_head_alone_learns_when_the_backbone_has_next_to_no_rate():
    before = {name: value.clone() for name, value in make_network().state_dict().items()}
    optimizer = make_training().optimizer.model_dump() | {"lr": 1e-12, "head_lr_multiple": 1e10}
    network = make_network()
    fit(network, epochs=1, optimizer=optimizer)
    after = network.state_dict()
    assert torch.allclose(after["0.weight"], before["0.weight"], atol=1e-8)
    assert not torch.allclose(after["5.weight"], before["5.weight"], atol=1e-4)


class _Breaking(nn.Module):
    """Works for some epochs, then gives infinity."""

    def __init__(self, epochs, training):
        super().__init__()
        self.inner, self.left, self.breaks_in_training = make_network(), epochs, training

    def train(self, mode=True):
        self.left -= mode
        return super().train(mode)

    def forward(self, pictures):
        broken = self.left < 0 and self.training == self.breaks_in_training
        return self.inner(pictures) * (torch.inf if broken else 1)


@pytest.mark.parametrize("training", [True, False])
def test_a_loss_that_is_not_finite_stops_at_the_epochs_end_and_keeps_the_best(training):
    nine = make_training(epochs=9)
    result = train_network(make_trainer(_Breaking(3, training), nine, "inner.5"), nine)
    assert result.not_finite == ("training" if training else "validation")
    assert len(result.history) == 3
    assert all(torch.isfinite(value).all() for value in result.best_weights.values())


@pytest.mark.parametrize("interrupted_after", [1, 2, 5])
@pytest.mark.parametrize(
    "changes",
    [{"schedule": {"name": name}} for name in ("none", "step", "exponential", "cosine")]
    + [EVERYTHING, BLENDED, {"tune": {"layers": "norm"}}],
)
def test_a_training_that_goes_on_ends_with_the_same_weights_bit_for_bit(interrupted_after, changes):
    training = make_training(**changes)
    whole = train_network(make_trainer(uninterrupted := make_network(), training), training)

    first = make_trainer(make_network(), training)

    def keep(result):
        if len(result.history) == interrupted_after:
            torch.save({"trainer": first.state_dict(), "result": result.state_dict()}, file)
            raise KeyboardInterrupt

    file = io.BytesIO()
    with pytest.raises(KeyboardInterrupt):
        train_network(first, training, after_epoch=keep)
    file.seek(0)
    kept = torch.load(file, weights_only=True)

    torch.manual_seed(99)  # whatever was drawn before plays no part
    second = make_trainer(resumed := make_network(), training)
    second.load_state_dict(kept["trainer"])
    result = train_network(second, training, TrainResult.from_state_dict(kept["result"]))
    _assert_equal(resumed.state_dict(), uninterrupted.state_dict())
    _assert_equal(result.best_weights, whole.best_weights)
    assert np.array_equal(result.validation_logits, whole.validation_logits)
    assert _without_times(result) == _without_times(whole)
    assert result.chosen.epoch == whole.chosen.epoch


def test_one_that_stops_early_keeps_the_schedule_and_its_last_epoch():
    training = make_training(schedule={"name": "cosine", "step_size": 2, "gamma": 0.5})
    passed = []
    whole = make_trainer(network := make_network(), training)

    def remember(_):
        passed.append({name: value.clone() for name, value in network.state_dict().items()})

    train_network(whole, training, after_epoch=remember)
    none = LabelledPixels(VALIDATION.array, VALIDATION.rows[:0], VALIDATION.labels[:0])
    short = make_trainer(make_network(), training, pictures=(TRAIN, none))
    result = train_network(short, training, stop_after=4)
    assert len(result.history) == result.chosen.epoch == 4
    assert result.validation_logits is None
    assert all(math.isnan(epoch.validation_accuracy) for epoch in result.history)
    _assert_equal(result.best_weights, passed[3])


def _assert_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def _without_times(result):
    return [replace(epoch, seconds=0.0, images_per_second=0.0) for epoch in result.history]


def test_it_learns_in_bf16_what_it_learns_in_fp32_and_keeps_weights_in_fp32():
    full, half = (fit(precision=precision, epochs=12) for precision in ("fp32", "bf16"))
    assert full.history[-1].train_loss < full.history[0].train_loss != half.history[0].train_loss
    accuracy = full.chosen.validation_accuracy
    assert accuracy > 0.85
    assert half.chosen.validation_accuracy == pytest.approx(accuracy, abs=0.1)
    assert fit(seed=4, epochs=1).history[0].train_loss != full.history[0].train_loss
    assert {value.dtype for value in half.best_weights.values()} == {torch.float32, torch.int64}


def test_bf16_computes_training_steps_and_not_validation():
    seen = set()
    network = make_network()
    network[5].register_forward_hook(lambda *call: seen.add((call[0].training, call[2].dtype)))
    fit(network, precision="bf16", epochs=1)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}


def test_batches_keep_pictures_and_labels_together():
    pictures = make_pictures(20, seed=5)
    array, rows = pictures.array[::-1].copy(), pictures.rows[::-1].copy()
    turned = LabelledPixels(array, rows, pictures.labels)
    order = [torch.tensor([2, 7, 19]), torch.tensor([0]), torch.tensor([1, 3])]
    for resident in (False, True):
        brought = list(BatchLoader(turned, CPU, resident=resident).batches(order))
        assert len(brought) == len(order)
        for chosen, (batch, labels) in zip(order, brought, strict=True):
            assert torch.equal(batch, to_batch(pictures.array[chosen.numpy()], CPU))
            assert torch.equal(labels, pictures.labels[chosen])


@pytest.mark.parametrize(("cached", "resident"), [(0, False), (600, True)])
def test_memory_that_pytorch_holds_for_reuse_counts_as_free(cached, resident, monkeypatch):
    pictures = make_pictures(1, seed=0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 4000))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 100)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 100 + cached)
    assert fit_on(torch.device("cuda"), [pictures]) == resident
