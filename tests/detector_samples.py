"""A detector with random weights, small enough to be written and read in a moment."""

import json

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from deepfake_detection import Detector
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.models.backbones import build_backbone
from deepfake_detection.models.detector import DetectorCard
from deepfake_detection.models.run_identity import complete_settings

# Of a detector trained on all images: the run that its settings come from
VOUCHED_BY = {
    "run_fingerprint": "ef" * 32, "split_fingerprint": "ab" * 32, "split_method": "group",
    "images": 540, "best_epoch": 3, "best_validation_accuracy": 0.875,
}  # fmt: skip
HASHES = [f"{number:064x}" for number in (0, 1, 255, 2**255)]


def build_detector(model="shufflenet_v2_x0_5", **changes):
    """A detector of this backbone, with changes to its card."""
    card = {
        "backbone": model,
        "transform_input": False,
        "preprocessing": {
            "resize": 40, "crop": 32, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        },
        "class_names": ["real", "fake"],
        "classes": {"real": "real", "fake_deepfake": "fake"},
        "threshold": 0.5,
        "temperature": 1.0,
        "best_epoch": 3,
        "best_validation_accuracy": 0.1 + 0.2,
        "split": {"fingerprint": "ab" * 32, "method": "group", "note": None},
        "settings": complete_settings({"training": {"epochs": 3}}),
        "run_fingerprint": "cd" * 32,
        "versions": {"torch": torch.__version__},
    }  # fmt: skip
    card |= changes
    torch.manual_seed(5)
    network, _ = build_backbone(
        model, {}, transform_input=False, crop=card["preprocessing"]["crop"]
    )
    return Detector(
        network.eval(), DetectorCard(**card), pack_hashes(HASHES[:2]), pack_hashes(HASHES[2:])
    )


def make_sensitive_detector(model="shufflenet_v2_x0_5"):
    """A detector whose batch norms have seen pictures: otherwise all get nearly the same logit."""
    detector = build_detector(model)
    for layer in detector.network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        detector.network.train()(torch.randn(16, 3, 32, 32))
    detector.network.eval()
    return detector


def make_overflowing_detector():
    """Its logits are finite for black and for red; its heat map is not for black."""
    detector = make_sensitive_detector()
    detector.network.fc.weight.data[1, :3] = 1e37
    return detector


def change_card(path, change):
    """Replace the card of a detector file by what a function makes of it."""
    with safe_open(path, framework="pt") as file:
        card = json.loads(file.metadata()["deepfake_detection"])
    save_file(load_file(path), path, {"deepfake_detection": json.dumps(change(card))})
