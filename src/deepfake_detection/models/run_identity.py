"""The identity of a run: what determines its weights, and nothing else.

It includes the settings, the resolved precision, the content of a weights file and the split. It
excludes the device, the number of processes, torch.compile, calibration and the checkpoint
settings. Its SHA-256 is the run fingerprint; the detector, training history, predictions and
metrics contain it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

# Settings of `training` that are left out of the identity; `precision` is added as resolved.
MACHINE_SETTINGS = frozenset({"device", "devices", "precision", "compile", "checkpoint"})

# Parameters that came after the first detectors, by dotted name: the value that repeats what was
# done before. Older files read as if they had it, and at this value a parameter is left out of the
# identity, so that the fingerprints of earlier runs stay what they are.
VALUES_BEFORE: Mapping[str, Any] = {
    "calibration.source_score": {"rule": "mean_logit", "top_share": 0.25},
    "calibration.verdict": {"error_rate": None, "unlike_share": None},
    "training.sampling": "shuffle",
    "training.tune": {"layers": "all", "blocks": 2, "layer_decay": 1.0},
    "training.optimizer.momentum": 0.9,
    "training.optimizer.decay_norms": True,
    "training.optimizer.clip_norm": None,
    "training.optimizer.accumulate": 1,
    "training.schedule.warmup": 0.0,
    "training.loss.label_smoothing": 0.0,
    "training.ema": None,
    "training.augmentation.moved": 1.0,
    "training.augmentation.interpolation": "nearest",
    "training.augmentation.scale": [1.0, 1.0],
    "training.augmentation.shift": 0.0,
    "training.augmentation.colour": {
        "probability": 0.0, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.02,
    },
    "training.augmentation.grey": 0.0,
    "training.augmentation.blur": {"probability": 0.0, "sigma": [0.5, 2.0]},
    "training.augmentation.scaling": {"probability": 0.0, "factor": [0.3, 0.9]},
    "training.augmentation.noise": {"probability": 0.0, "deviation": [1.0, 8.0]},
    "training.augmentation.jpeg": {"probability": 0.0, "quality": [40, 100]},
    "training.augmentation.twice": 0.0,
    "training.augmentation.cutout": {"probability": 0.0, "side": [0.1, 0.4]},
    "training.self_blending": {
        "enabled": False, "mask": "ellipse", "centre": [0.5, 0.55], "radii": [0.3, 0.38],
    },
    "training.self_blending.mask": "ellipse",
    "training.select_by": "accuracy",
    "training.flip_average": False,
}  # fmt: skip

# Settings that were renamed or removed, by dotted name: the new name, or None.
_RENAMED = {
    "training.machines": None,
    "training.rendezvous": None,
    "training.state": "training.checkpoint",
    "calibration.threshold.false_alarm_rate": "calibration.threshold.false_positive_rate",
}
_RENAMED_RULES = {"false_alarm_rate": "false_positive_rate"}


def describe_weights(weights: str) -> str:
    """The parameter `training.weights`; for a file, `sha256:…` of its content, or an OSError."""
    if weights in ("imagenet", "none"):
        return weights
    with Path(weights).open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def identify_run(
    settings: Mapping[str, Any], split_fingerprint: str, *, precision: str, weights: str
) -> dict[str, Any]:
    """Put together what determines the weights of a run, as plain JSON.

    Args:
        settings: `model`, `preprocessing`, `training`; `final_training` where all images trained.
        split_fingerprint: See `fingerprint_of_split`.
        precision: That was computed in: fp32 or bf16.
        weights: As `describe_weights` gives them.
    """
    blocks = ["model", "preprocessing", "training", *({"final_training"} & settings.keys())]
    identity = deepcopy({name: settings[name] for name in blocks})
    for name in MACHINE_SETTINGS | {"weights"}:
        identity["training"].pop(name, None)
    identity |= {"precision": precision, "weights": weights, "split": split_fingerprint}
    for name, value in VALUES_BEFORE.items():
        block, key = _find(identity, name)
        if key in block and block[key] == value:
            del block[key]
    return identity


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity, hexadecimal."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def complete_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read the settings of an older detector file as this version writes them."""
    completed = deepcopy(dict(settings))
    for old, new in _RENAMED.items():
        block, key = _find(completed, old)
        if key in block:
            value = block.pop(key)
            if new is not None:
                block.setdefault(new.rsplit(".", 1)[1], value)
    for name, value in VALUES_BEFORE.items():
        block, key = _find(completed, name)
        if block:
            block.setdefault(key, deepcopy(value))
    threshold, _ = _find(completed, "calibration.threshold.rule")
    if threshold.get("rule") in _RENAMED_RULES:
        threshold["rule"] = _RENAMED_RULES[threshold["rule"]]
    return completed


def identify_older_run(card: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a run whose detector file was written before files held one.

    Such a file names its weights by their path alone: a run that started from a local file is
    equal to no other.
    """
    settings = complete_settings(card["settings"])
    weights = settings["training"].get("weights", "none")
    return identify_run(
        settings,
        card["split"]["fingerprint"],
        precision=card.get("computed_on", {}).get("precision", "fp32"),
        weights=weights if weights in ("imagenet", "none") else f"path:{weights}",
    )


def _find(settings: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    """The block that holds a dotted name (an empty one, if it is missing), and the last part."""
    *blocks, key = name.split(".")
    for block in blocks:
        inner = settings.get(block)
        settings = inner if isinstance(inner, dict) else {}
    return settings, key
