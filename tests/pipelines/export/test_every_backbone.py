"""Which of torchvision's and timm's networks can be exported: slow, minutes in all."""

import copy

import numpy as np
import pytest
import torch
from export_samples import EXPORT, draw_pixels, least_crop, make_lively_detector, put_pictures
from timm_samples import FAMILIES

from deepfake_detection import Detector
from deepfake_detection.models.backbones import list_backbones
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.forward import Normalise, to_batch
from deepfake_detection.models.heat_maps import HeatMaps
from deepfake_detection.models.image_inputs import prepare_image
from deepfake_detection.pipelines.export.agreement import check_agreement, run_onnx
from deepfake_detection.pipelines.export.onnx_model import make_onnx_model

pytestmark = pytest.mark.slow

# Of their size alone: gigabytes of weights, which an ONNX file of one piece cannot hold either, or
# minutes of computing
HEAVY = {
    "convnext_large", "regnet_y_128gf", "vit_h_14", "vit_l_16", "vit_l_32", "vgg11", "vgg11_bn",
    "vgg13", "vgg13_bn", "vgg16_bn", "vgg19", "vgg19_bn", "wide_resnet101_2",
}  # fmt: skip
# So deep that with random weights and recorded batch norms rounding alone decides the logits
DEEP = ("efficientnet_v2", "regnet_y", "maxvit")
# and these where the last maps are of one pixel
SHRINKING = "efficientnet_b"
TRANSFORMING = ("inception_v3", "googlenet")


@pytest.mark.parametrize("model", sorted(set(list_backbones()) - HEAVY))
def test_a_backbone_exports_and_agrees(model, tmp_path):
    detector = make_lively_detector(
        model,
        128 if model.startswith(SHRINKING) else least_crop(model),
        record=not model.startswith(DEEP),
        transform_input=model in TRANSFORMING,
    )
    _check_export(detector, tmp_path)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_timm_is_read_explained_exported_and_agrees(name, tmp_path):
    detector = make_lively_detector(f"timm/{name}", FAMILIES[name])
    write_detector(detector, tmp_path / "detector.safetensors")
    read = Detector.load(tmp_path / "detector.safetensors")
    pixels = draw_pixels(FAMILIES[name])
    assert np.array_equal(read.logits(pixels), detector.logits(pixels))
    maps = HeatMaps(read)
    assert maps.layer.grid > 1
    heats = np.stack([maps.explain(pixels, towards) for towards in ("fake", "real")])
    assert heats.max(axis=(0, 2, 3)).tolist() == [1] * len(pixels)
    print(f"heat maps at {maps.layer}")
    _check_export(read, tmp_path / "pictures")


def _check_export(detector, folder):
    model = detector.card.backbone
    paths = put_pictures(folder)
    rounding = _measure_rounding(detector, paths)
    content = make_onnx_model(detector, None)
    if rounding > 1e-3:
        pytest.skip(f"it exports; with random weights, rounding alone makes {rounding:.1g}")
    export = EXPORT.model_copy(update={"tolerance": max(EXPORT.tolerance, 10 * rounding)})
    agreement = check_agreement(content, detector, folder, export)
    crop = detector.preprocessing.crop
    spread = np.ptp(run_onnx(content, draw_pixels(crop)))
    print(
        f"{model} crop {crop} MB {len(content) / 1e6:.0f} difference "
        f"{agreement.largest_difference:.1e} rounding {rounding:.1e} spread {spread:.2f}"
    )
    assert spread > 0.5


def _measure_rounding(detector, paths):
    """How far the detector's probabilities in single precision are from those in double."""
    network = copy.deepcopy(detector.network).double()
    normalise = Normalise(detector.preprocessing)
    prepared = [prepare_image(path, detector.preprocessing) for path in paths]
    pixels = np.stack([each.pixels[0] for each in prepared])
    with torch.no_grad():
        logits = network(normalise(to_batch(pixels, "cpu").double())).numpy()
    exact = detector.probabilities(logits[:, 1] - logits[:, 0])
    single = [score.fake_probability for score in detector.score(paths, device="cpu")]
    return float(np.abs(exact - single).max())
