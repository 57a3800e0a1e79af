"""Which of torchvision's classification networks can be exported: slow, minutes in all."""

from pathlib import Path

import numpy as np
import pytest
from export_samples import EXPORT, draw_pixels, least_crop, make_lively_detector, put_pictures

from deepfake_detection.detector.backbones import list_backbones
from deepfake_detection.pipelines.export.agreement import check_agreement, run_onnx
from deepfake_detection.pipelines.export.onnx_model import make_onnx_model

pytestmark = pytest.mark.slow

# Of their size alone: gigabytes of weights, which an ONNX file of one piece cannot hold either, or
# minutes of computing
HEAVY = {
    "convnext_large", "regnet_y_128gf", "vit_h_14", "vit_l_16", "vit_l_32", "vgg11", "vgg11_bn",
    "vgg13", "vgg13_bn", "vgg16_bn", "vgg19", "vgg19_bn", "wide_resnet101_2",
}  # fmt: skip
TRANSFORMING = ("inception_v3", "googlenet")


@pytest.mark.parametrize("model", sorted(set(list_backbones()) - HEAVY))
def test_a_backbone_exports_and_agrees(model: str, tmp_path: Path) -> None:
    detector = make_lively_detector(model, least_crop(model), transform_input=model in TRANSFORMING)
    put_pictures(tmp_path)
    content = make_onnx_model(detector, None)
    agreement = check_agreement(content, detector, tmp_path, EXPORT)
    crop = detector.preprocessing.crop
    spread = np.ptp(run_onnx(content, draw_pixels(crop)))
    print(
        f"{model} crop {crop} MB {len(content) / 1e6:.0f} difference "
        f"{agreement.largest_difference:.1e} spread {spread:.2f}"
    )
    assert spread > 0.5
