"""Trainings of one process do not disturb each other."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import nn
from training_samples import make_task

from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.loop import TrainResult
from deepfake_detection.training.resume import train, training_lock


def test_two_threads_train_as_one_does_bit_for_bit(tmp_path: Path) -> None:
    task = make_task(tmp_path, epochs=4)

    def run(name: str) -> TrainResult:
        states = TrainingCheckpoints(tmp_path / name)
        with training_lock:
            torch.manual_seed(0)
            network = nn.Sequential(
                nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Dropout(0.5),
                nn.Linear(128, 2),
            )  # fmt: skip
        return train(task, network, ["4"], PixelCache(tmp_path / "cache"), None, states)

    alone = run("alone")
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(run, ["first", "second"]))
    for result in together:
        for name, value in alone.best_weights.items():
            assert torch.equal(value, result.best_weights[name]), name
        losses = [[epoch.train_loss for epoch in each.history] for each in (alone, result)]
        assert losses[0] == losses[1]
