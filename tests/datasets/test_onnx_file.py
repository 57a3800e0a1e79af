"""ONNX files in the catalog: whole or not at all, in versions."""

import numpy as np
import pytest
from kedro.io import Version
from onnx import TensorProto, helper

from deepfake_detection.datasets.onnx_file import OnnxDataset


def _make_model():
    given, got = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "y")
    )
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", [given], [got])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def test_what_is_saved_is_the_version_that_is_loaded_and_runs(tmp_path):
    place = tmp_path / "export/detector.onnx"
    assert not OnnxDataset(filepath=str(place), version=Version(None, None)).exists()
    saved = OnnxDataset(filepath=str(place), version=Version(None, "now"))
    saved.save(_make_model())
    assert [path.name for path in place.rglob("*")] == ["now", "detector.onnx"]
    latest = OnnxDataset(filepath=str(place), version=Version(None, None))
    assert latest.exists()
    (found,) = latest.load().run(None, {"x": np.array([1, -2], np.float32)})
    assert found.tolist() == [-1, 2]


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    place = tmp_path / "detector.onnx"
    dataset = OnnxDataset(filepath=str(place))
    dataset.save(b"first")
    with pytest.raises(Exception, match="bytes-like"):
        dataset.save("no bytes")  # type: ignore[arg-type]
    assert place.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["detector.onnx"]
