"""A network that gives no finite number gives no verdict, wherever it is asked."""

import copy
import math
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pandas as pd
import pytest
from detector_samples import make_sensitive_detector
from onnx import numpy_helper
from PIL import Image

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.calibration import calibrate
from deepfake_detection.models.detector_file import write_detector

WRONG = [math.nan, math.inf, -math.inf]
PICTURE = Image.new("RGB", (48, 40), (90, 60, 30))


def spoil(detector, value):
    """The same detector with one weight of its head changed, after it was loaded."""
    network = copy.deepcopy(detector.network)
    list(network.parameters())[-1].data[0] = value
    return replace(detector, network=network)


@pytest.fixture(scope="module")
def detector():
    return make_sensitive_detector()


@pytest.mark.parametrize("value", WRONG)
def test_a_score_is_an_error_and_no_verdict(detector, value):
    spoiled = spoil(detector, value)
    (score,) = spoiled.score([PICTURE], errors="record")
    assert score.verdict is None
    assert score.error
    assert math.isnan(score.fake_probability)
    with pytest.raises(UserError):
        spoiled.score(PICTURE)
    with pytest.raises(UserError, match="1 of 1"):
        spoiled.logits(np.zeros((1, 32, 32, 3), np.uint8))


@pytest.mark.parametrize("value", WRONG)
def test_such_weights_are_not_written(detector, value, tmp_path):
    path = tmp_path / "detector.safetensors"
    with pytest.raises(UserError, match=r"detector\.safetensors"):
        write_detector(spoil(detector, value), path)
    assert not path.exists()


@pytest.mark.parametrize("value", WRONG)
def test_no_threshold_is_chosen_on_them(detector, value):
    asked = SimpleNamespace(threshold=None, temperature=None)
    with pytest.raises(UserError):
        calibrate(detector, pd.DataFrame({"logit": [0.0, value, 1.0], "label": [0, 1, 1]}), asked)


def test_prepare_gives_no_verdict(exported_folder):
    path = exported_folder / "detector.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            spoiled = numpy_helper.from_array(np.full_like(array, np.nan), tensor.name)
            tensor.CopyFrom(spoiled)
    onnx.save(model, path)
    done = subprocess.run(
        [sys.executable, "prepare.py", "detector.onnx", "photo.jpg"],
        cwd=exported_folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith("photo.jpg: ")
