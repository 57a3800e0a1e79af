"""Settings, pictures, networks and tasks that are small enough to train in a moment."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image
from torch import nn

from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.parameters import (
    CalibrationParameters,
    PreprocessingParameters,
    TrainingParameters,
)
from deepfake_detection.training.batches import LabelledPixels
from deepfake_detection.training.build_detector import RunSettings
from deepfake_detection.training.checkpoints import TrainingCheckpoints
from deepfake_detection.training.hardware import Processes, choose_hardware
from deepfake_detection.training.loop import Trainer, train_network
from deepfake_detection.training.task import TrainingTask
from deepfake_detection.training.train_run import (
    find_checkpoint,
    hardware_of_checkpoint,
    train,
    training_lock,
)

CPU = torch.device("cpu")
SIZE = 12
PREPROCESSING = PreprocessingParameters(
    resize=SIZE, crop=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)


_FILE = Path(__file__).parents[1] / "conf" / "base" / "parameters_training.yml"
_SMALL = {
    "weights": "none",
    "epochs": 6,
    "batch_size": 8,
    "optimizer": {"lr": 0.003, "head_lr_multiple": 3},
    "schedule": {"step_size": 2},
    "device": "cpu",
    "precision": "fp32",
    "seed": 3,
    "checkpoint": {"minutes": 0},
}


# Changes that switch on all that the reference recipe leaves out
EVERYTHING = {
    "optimizer": {"name": "adamw", "weight_decay": 0.01, "decay_norms": False, "clip_norm": 1.0,
                  "accumulate": 2},
    "schedule": {"name": "one_cycle", "warmup": 0.3},
    "ema": 0.9,
    "loss": {"label_smoothing": 0.1},
    "sampling": "balanced_labels",
    "select_by": "roc_auc",
    "flip_average": True,
    "augmentation": {
        "interpolation": "bilinear", "scale": [0.9, 1.1], "shift": 0.1, "grey": 0.2, "twice": 0.5,
        **{name: {"probability": 0.5} for name in
           ("colour", "blur", "scaling", "noise", "jpeg", "cutout")},
    },
}  # fmt: skip
BLENDED = {"self_blending": {"enabled": True}, "ema": 0.9, "schedule": {"name": "cosine_steps"}}


def make_training(**changes):
    """The reference's settings, smaller and on one CPU, with changes; blocks are merged."""
    settings = yaml.safe_load(_FILE.read_text(encoding="utf-8"))["training"]
    for more in (_SMALL, changes):
        settings = _merge(settings, more)
    return TrainingParameters.model_validate(settings)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if both else value
    return merged


def make_calibration(
    threshold="fixed", temperature="none", source_score="mean_logit", error_rate=None,
    unlike_share=None, **changes,
):  # fmt: skip
    """Rules of calibration, with changes to those of the threshold."""
    return CalibrationParameters.model_validate(
        {
            "threshold": {"rule": threshold, "value": 0.5, "false_positive_rate": 0.1} | changes,
            "temperature": {"rule": temperature, "bounds": [0.1, 10.0]},
            "source_score": {"rule": source_score, "top_share": 0.25},
            "verdict": {"error_rate": error_rate, "unlike_share": unlike_share},
        }
    )


def make_network(*, normalised=True):
    """Always the same weights; its head is the layer `5`."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8) if normalised else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 2),
    )  # fmt: skip


def make_pictures(count, seed):
    """Fakes are a little redder, half hidden in noise."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    array = generator.normal(120, 60, (count, SIZE, SIZE, 3))
    array[..., 0] += 30 * labels[:, None, None]
    return LabelledPixels(
        array.clip(0, 255).astype(np.uint8), np.arange(count), torch.from_numpy(labels)
    )


TRAIN, VALIDATION = make_pictures(61, seed=1), make_pictures(40, seed=2)


def make_trainer(network, training, head="5", pictures=(TRAIN, VALIDATION), processes=None):
    """A trainer on one CPU, where no other processes are given."""
    return Trainer(
        network, [head], *pictures, PREPROCESSING, training,
        precision=training.precision, processes=processes or Processes(CPU),
    )  # fmt: skip


def fit(network=None, processes=None, **changes):
    """Train a network, with changes to the settings."""
    training = make_training(**changes)
    trainer = make_trainer(network or make_network(), training, processes=processes)
    return train_network(trainer, training)


def make_task(folder, images=36, **changes):
    """A task with real files and a pixel cache; a third of the images are for validation."""
    pictures = make_pictures(images, seed=1)
    files = [f"{number}.png" for number in range(images)]
    hashes = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for file, pixels in zip(files, pictures.array, strict=True):
        Image.fromarray(pixels).resize((32, 32)).save(folder / "images" / file)
        hashes.append(hashlib.sha256((folder / "images" / file).read_bytes()).hexdigest())
    preprocessing = PREPROCESSING.model_copy(update={"resize": 32, "crop": 32})
    cache = PixelCache(folder / "cache")
    cache.build(PixelRequest(folder / "images", files, hashes, preprocessing))
    training = make_training(**changes)
    # subsets alternate, so that the order of the validation images is not that of the rows
    subsets = ["validation" if number % 3 == 1 else "train" for number in range(images)]
    return TrainingTask(
        run="a" * 64,
        settings=RunSettings("shufflenet_v2_x0_5", preprocessing, training),
        hardware=choose_hardware(training),
        split=pd.DataFrame(
            {
                "sha256": hashes,
                "label": pictures.labels,
                "subset": subsets,
                "class_name": ["fake" if label else "real" for label in pictures.labels],
                "source": files,
                "group": files,
            }
        ),
        pixel_cache=cache,
        checkpoints=TrainingCheckpoints(folder / "checkpoints"),
    )


def run_task(task):
    """Train a task, or resume it from its checkpoint."""
    training = task.settings.training
    start = find_checkpoint(task.checkpoints, task.run, training)
    if start is not None:
        assert hardware_of_checkpoint(start) == task.hardware
    with training_lock:
        torch.manual_seed(training.seed)
        network, heads = task.build_network()
        return train(task, network, heads, start)
