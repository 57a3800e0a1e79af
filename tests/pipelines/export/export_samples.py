"""Detectors whose scores differ from picture to picture, and pictures of every ordinary kind."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from detector_samples import build_detector
from PIL import Image
from torch import nn

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.models.backbones import check_crop
from deepfake_detection.parameters import ExportParameters
from deepfake_detection.pipelines.export.agreement import Agreement

EXPORT = ExportParameters(opset=None, check_images=5, tolerance=1e-4, seed=0)


@dataclass(frozen=True)
class Exported:
    detector: Detector
    folder: Path
    pictures: list[Path]
    content: bytes
    prepare: str
    agreement: Agreement


def make_lively_detector(model, crop, *, record=True, **changes):
    """A detector with random weights whose probabilities are spread over 0 … 1.

    With `record`, batch norms have seen pictures. The head's bias puts the middle of the logits at
    0, and the temperature is a third of their spread.
    """
    preprocessing = {
        "resize": crop + crop // 4, "crop": crop,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    detector = build_detector(model, preprocessing=preprocessing, **changes)
    norms = [each for each in detector.network.modules() if isinstance(each, nn.BatchNorm2d)]
    if norms and record:
        for layer in norms:
            layer.momentum = None
        with torch.no_grad():
            detector.network.train()(torch.randn(16, 3, crop, crop))
        detector.network.eval()
    _centre_head(detector, draw_pixels(crop))
    logits = detector.logits(draw_pixels(crop))
    # a channels-last network is what scoring leaves
    detector.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return replace(detector, card=replace(detector.card, temperature=float(logits.std()) / 3))


def _centre_head(detector, pixels):
    layers = [
        each for each in detector.network.modules() if isinstance(each, nn.Linear | nn.Conv2d)
    ]
    head = next(each for each in reversed(layers) if each.weight.shape[0] == 2)
    with torch.no_grad():
        if head.bias is None:
            head.bias = nn.Parameter(torch.zeros(2))
        if isinstance(head, nn.Conv2d):
            # squeezenets drop what is below 0
            head.bias += 5
        head.bias[0] += float(detector.logits(pixels).mean())


def draw_pixels(crop):
    """Six pictures of smooth colours: uint8, [6, crop, crop, 3]."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    return np.stack([Image.fromarray(each).resize((crop, crop)) for each in colours])


def least_crop(model, sizes=(32, 64, 75, 96, 224, 299)):
    """The smallest of these sizes that a backbone takes."""
    for size in sizes:
        try:
            check_crop(model, size)
        except UserError:
            continue
        return size
    raise AssertionError(f"{model} takes none of {sizes}")


def put_pictures(folder):
    """Pictures of several kinds in two class folders."""
    colours = Image.fromarray(
        np.random.default_rng(3).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    ).resize((80, 100), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("real", "fakes"):
        (folder / name).mkdir(parents=True)
    colours.save(folder / "real/photo.jpg")
    colours.convert("L").save(folder / "real/grey.png")
    colours.save(folder / "real/turned.jpg", exif=turned)
    colours.convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "fakes/palette.png")
    colours.convert("RGBA").rotate(30).save(folder / "fakes/transparent.png")
    colours.transpose(Image.Transpose.ROTATE_90).save(folder / "fakes/lying.webp")
    (folder / "fakes/broken.jpg").write_bytes(b"\xff\xd8 broken")
    (folder / ".DS_Store").write_bytes(b"no picture")
    return sorted(path for path in folder.rglob("*.*") if path.stem not in {"broken", ".DS_Store"})
