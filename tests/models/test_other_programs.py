"""Detectors of other programs: ONNX files, functions and tables of scores, and mistakes in them."""

import dataclasses
import hashlib
import shutil
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
from kedro.io import DatasetError, Version
from onnx import TensorProto, helper
from picture_samples import make_image_set
from PIL import Image
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from training_samples import make_calibration

from deepfake_detection.datasets.detector_file import DetectorDataset
from deepfake_detection.errors import UserError
from deepfake_detection.images.distortions import Distortion
from deepfake_detection.images.pixel_cache import PixelCache
from deepfake_detection.metrics.predicting import predict, request_scored_pixels
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.detector_loading import load_detector
from deepfake_detection.models.other_programs import give_scale
from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.pipelines.calibration.nodes import calibrate_on_part
from deepfake_detection.pipelines.evaluation.nodes import (
    ask_whether_swapped,
    list_label_issues,
    make_metrics,
    measure_predictions,
    take_all_images,
)
from deepfake_detection.pipelines.robustness.renditions import score_renditions

EVALUATION = EvaluationParameters(
    batch_size=7, confidence=0.95, calibration_bins=10, few_groups=5, label_issues=3, device="cpu"
)
SIDE = 8
# grey values of fakes are normal with a mean that is so many deviations higher: AUC 0.87
SHIFT, GREY, DEVIATION = 1.6, 120, 20
AREA = float(norm.cdf(SHIFT / np.sqrt(2)))


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A folder of 400 grey pictures; its index, and the grey of each picture."""
    folder = tmp_path_factory.mktemp("elsewhere")
    generator = np.random.default_rng(3)
    rows, greys = [], []
    for number in range(400):
        label = number % 2
        grey = int(np.clip(generator.normal(GREY + label * SHIFT * DEVIATION, DEVIATION), 0, 255))
        name = ("real", "fake")[label]
        path = folder / name / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (SIDE, SIDE), (grey, number // 2, number % 2)).save(path)
        content = path.read_bytes()
        source = f"{name}/{number}"
        rows.append((f"{name}/{number}.png", hashlib.sha256(content).hexdigest(), name, label,
                     source, source))  # fmt: skip
        greys.append(grey)
    columns = ["path", "sha256", "class_name", "label", "source", "group"]
    return folder, pd.DataFrame(rows, columns=columns).assign(crop_recipe=None), np.array(greys)


def score(location, material, tmp_path):
    """Predictions and metrics of a set from elsewhere, and the detector."""
    folder, index, _ = material
    detector = load_detector(location)
    split = take_all_images(index, detector, make_image_set({"real": "real", "fake": "fake"}))
    cache = PixelCache(tmp_path / "cache")
    cache.build(request_scored_pixels(folder, split, detector, "cache"))
    return predict(detector, split, split, cache, EVALUATION), detector


def write_onnx(path, outputs=1, *, sigmoid=False, layout="nchw", **described):
    """A network whose first number is the mean of the first channel, the second its opposite."""
    shape = ["n", 3, SIDE, SIDE] if layout == "nchw" else ["n", SIDE, SIDE, 3]
    axes = [2, 3] if layout == "nchw" else [1, 2]
    weight = np.zeros((3, outputs), np.float32)
    weight[0] = [1.0, -1.0][:outputs]
    nodes = [
        helper.make_node("ReduceMean", ["pictures", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["logits"]),
        *([helper.make_node("Sigmoid", ["logits"], ["out"])] if sigmoid else []),
    ]
    out = "out" if sigmoid else "logits"
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, ["n", outputs])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], axes),
         helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.ravel())],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    known = {"size": SIDE, "mean": [0.5, 0, 0], "std": [0.1, 1, 1], "classes": "[fake]",
             "gives": "logits"} | described  # fmt: skip
    text = "".join(f"{key}: {value}\n" for key, value in known.items() if value is not None)
    path.with_suffix(".yaml").write_text(text)
    return path


def write_function(monkeypatch, tmp_path, name, text):
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return f"python:{name}:score"


FUNCTIONS = {
    "paths": """
from PIL import Image
def score(paths):
    return [Image.open(path).getpixel((0, 0))[0] for path in paths]
""",
    "images": """
def score(images):
    return [(image.getpixel((0, 0))[0] / 255 - 0.5) / 0.1 for image in images]
score.gives = "logit"
""",
}


def test_every_way_in_gives_the_area_of_the_scores(material, tmp_path, monkeypatch):
    _, index, greys = material
    logits = (greys / 255 - 0.5) / 0.1
    expected = roc_auc_score(index["label"], greys)
    assert expected == pytest.approx(AREA, abs=0.05)
    table = pd.DataFrame({"path": index["path"], "fake_probability": expit(logits)})
    table.to_csv(tmp_path / "scores.csv", index=False)
    ways = {
        "one logit": write_onnx(tmp_path / "one.onnx"),
        "two": write_onnx(tmp_path / "two.onnx", 2, classes="[fake, real]", std="[0.2, 1, 1]"),
        "probability": write_onnx(tmp_path / "p.onnx", sigmoid=True, gives="probabilities"),
        "last": write_onnx(tmp_path / "last.onnx", layout="nhwc"),
        "bgr": write_onnx(tmp_path / "bgr.onnx", channels="bgr", mean="[0.5, 0, 0]"),
        "images": write_function(monkeypatch, tmp_path, "of_images", FUNCTIONS["images"]),
        "csv": tmp_path / "scores.csv",
    }
    for name, location in ways.items():
        predictions, detector = score(location, material, tmp_path / name)
        table, _ = measure_predictions(predictions, detector, EVALUATION)
        found = table.set_index(["level", "metric", "class_name"])["value"]
        if name == "bgr":
            # its first channel is the blue one
            assert set(predictions["logit"].round(3)) == {-5.0, -4.961}
            continue
        assert found["image", "roc_auc", None] == pytest.approx(expected, abs=1e-6), name
        assert predictions["logit"].to_numpy() == pytest.approx(logits, abs=1e-3), name
        called = (logits >= 0).astype(int)
        assert (predictions["predicted"] == called).mean() > 0.99, name
        assert "unknown" in table.loc[table["metric"] == "roc_auc", "note"].iloc[0]
        assert list_label_issues(predictions, detector, EVALUATION).shape[0] <= 3


def test_scores_without_a_scale_are_ranked_until_they_are_calibrated(
    material, tmp_path, monkeypatch
):
    _, index, greys = material
    location = write_function(monkeypatch, tmp_path, "of_paths", FUNCTIONS["paths"])
    predictions, detector = score(location, material, tmp_path)
    table, _ = make_metrics(predictions, detector, EVALUATION)
    values = table.set_index(["level", "metric", "class_name"])
    assert values.loc[("image", "roc_auc", None), "value"] == roc_auc_score(index["label"], greys)
    for metric in ("accuracy", "log_loss", "brier_score", "sure_share", "false_positives"):
        row = values.loc[("image", metric, None)]
        assert np.isnan(row["value"])
        assert "scale" in row["note"]
    assert len(list_label_issues(predictions, detector, EVALUATION)) == 0

    split = take_all_images(index, detector, make_image_set({"real": "real", "fake": "fake"}))
    split.loc[::2, "subset"] = "validation"
    split.loc[1::4, "subset"] = "validation"
    cache = PixelCache(tmp_path / "cache")
    calibrated = calibrate_on_part(detector, split, cache, make_calibration(), EVALUATION)
    file = tmp_path / "calibrated.safetensors"
    write_detector(calibrated, file)
    # a file that comes from anyone runs no code
    with pytest.raises(UserError, match="only if you name it"):
        load_detector(file)
    again = load_detector(f"{tmp_path}/{location}@calibrated.safetensors")
    assert again.card == calibrated.card
    assert (again.validated_on == calibrated.validated_on).all()
    scored = predict(again, split, split, cache, EVALUATION)
    # between two normal distributions the log odds are linear in the grey
    odds = SHIFT * (greys - GREY - SHIFT * DEVIATION / 2) / DEVIATION
    by_path = scored.set_index("path")["logit"].loc[index["path"]]
    assert np.corrcoef(by_path, odds)[0, 1] > 0.99999
    assert by_path.std() == pytest.approx(odds.std(), rel=0.35)
    assert scored["fake_probability"].between(0, 1).all()
    (tmp_path / "of_paths.py").write_text(FUNCTIONS["paths"] + "\n")
    with pytest.raises(UserError, match="as it was"):
        load_detector(f"{location}@{file}")


def test_reversed_scores_are_asked_about_and_get_no_scale(material, tmp_path):
    _, index, greys = material
    table = pd.DataFrame({"path": index["path"], "score": -greys})
    table.to_csv(tmp_path / "scores.csv", index=False)
    predictions, detector = score(tmp_path / "scores.csv", material, tmp_path)
    metrics, _ = make_metrics(predictions, detector, EVALUATION)
    assert "swapped" in (ask_whether_swapped(metrics) or "")
    split = take_all_images(
        index, detector, make_image_set({"real": "real", "fake": "fake"})
    ).assign(subset="validation")
    with pytest.raises(UserError, match="swapped"):
        calibrate_on_part(
            detector, split, PixelCache(tmp_path / "cache"), make_calibration(), EVALUATION
        )
    table.assign(score=greys).to_csv(tmp_path / "scores.csv", index=False)
    metrics, _ = make_metrics(*score(tmp_path / "scores.csv", material, tmp_path), EVALUATION)
    assert ask_whether_swapped(metrics) is None


def test_a_table_finds_pictures_by_longer_and_by_shorter_paths(material, tmp_path):
    folder, index, greys = material
    for paths in (
        index["path"].map(lambda path: str(folder / path)),
        "/elsewhere/" + index["path"],
        "./" + index["path"],
        index["path"].str.split("/").str[-1],
        index["path"].str.replace("/", "\\"),
    ):
        pd.DataFrame({"path": paths, "score": greys}).to_csv(tmp_path / "s.csv", index=False)
        predictions, _ = score(tmp_path / "s.csv", material, tmp_path)
        assert (predictions["logit"] == greys).all()


def test_one_score_is_not_that_of_two_pictures(material, tmp_path):
    folder, index, _ = material
    twins = index[index["path"].isin(["real/0.png", "fake/1.png"])]
    shutil.copy(folder / "fake/1.png", folder / "fake/0.png")
    twins = twins.assign(path=["real/0.png", "fake/0.png"])
    (tmp_path / "s.csv").write_text("path,score\n0.png,1\n")
    with pytest.raises(UserError, match=r"real/0\.png"):
        score(tmp_path / "s.csv", (folder, twins, None), tmp_path)
    (folder / "fake/0.png").unlink()
    # nor that of a file that is there
    other = tmp_path / "other/real"
    other.mkdir(parents=True)
    for name in ("0.png", "2.png"):
        shutil.copy(folder / "real" / name, other / name)
    rows = "".join(f"{other / name},1\n" for name in ("0.png", "2.png"))
    (tmp_path / "s.csv").write_text(f"path,score\n{rows}")
    some = index[index["path"].isin(["real/0.png", "real/2.png"])]
    with pytest.raises(UserError, match="no score of"):
        score(tmp_path / "s.csv", (folder, some, None), tmp_path)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("path,score\nreal/0.png,1\nreal/0.png,2\n", "real/0.png"),
        ("path,score\nreal/0.png,none\n", "row 2"),
        ("path,score\n,3\n", "row 2"),
        ("path,probability\nreal/0.png,1.5\n", "1.5"),
        ("path,score\nreal/0.png,inf\n", "inf"),
        ("path,score\nreal/0.png,1\n", "no score of"),
        ("path,value\nreal/0.png,1\n", "value"),
        ("path,score,logit\nreal/0.png,1,1\n", "columns"),
        ("", "CSV"),
    ],
)
def test_mistakes_in_a_table_end_in_one_line(material, tmp_path, rows, named):
    (tmp_path / "scores.csv").write_text(rows)
    with pytest.raises(UserError, match=named) as error:
        score(tmp_path / "scores.csv", material, tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("described", "named"),
    [
        ({"classes": "[real]"}, "classes"),
        ({"classes": "[fake, fake]"}, "classes"),
        ({"classes": "[fake, real]"}, "classes"),
        ({"classes": "[fake, swap]"}, "classes"),
        ({"gives": "probabilities"}, "probabilities"),
        ({"gives": "percent"}, "gives"),
        ({"size": 9}, "8"),
        ({"size": None}, "size"),
        ({"sizes": 8}, "sizes"),
        ({"output": "features"}, "output"),
        ({"std": "[0, 1, 1]"}, "std"),
    ],
)
def test_mistakes_in_the_description_end_in_one_line(tmp_path, described, named):
    with pytest.raises(UserError, match=named) as error:
        load_detector(write_onnx(tmp_path / "d.onnx", **described))
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_onnx_or_has_no_description_is_named(tmp_path):
    path = write_onnx(tmp_path / "d.onnx")
    path.with_suffix(".yaml").unlink()
    with pytest.raises(UserError, match=r"d\.yaml"):
        load_detector(path)
    write_onnx(path).write_bytes(b"no network")
    with pytest.raises(UserError, match=r"d\.onnx"):
        load_detector(path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("def score(files): return []", "paths or images"),
        ("def score(paths): return [0.5]", "1 scores for"),
        ("def score(paths): return [float('nan')] * len(paths)", "real/"),
        ("def score(paths): return [2] * len(paths)\nscore.gives = 'probability'", "2 for real/"),
        ("def score(paths): return ['high'] * len(paths)", "numbers"),
        ("import torch\ndef score(paths): return torch.ones(len(paths)).requires_grad_()", "grad"),
        ("def score(paths): raise ValueError('no\\nGPU')", "ValueError"),
        ("def score(paths): return []\nscore.gives = 'percent'", "gives"),
        ("import no_such_module", "no_such_module"),
        ("def other(paths): return []", "score"),
    ],
)
def test_mistakes_in_a_function_end_in_one_line(material, tmp_path, monkeypatch, text, named):
    location = write_function(monkeypatch, tmp_path, "wrong", text)
    with pytest.raises(UserError, match=named) as error:
        score(location, material, tmp_path)
    assert "\n" not in str(error.value)


def test_distorted_pictures_are_scored_by_functions_and_not_by_tables(
    material, tmp_path, monkeypatch
):
    folder, index, greys = material
    distortions = [Distortion("none", 0), Distortion("brightness", 0.5)]
    paths = index["path"].tolist()[:5]
    for name, text in FUNCTIONS.items():
        location = write_function(monkeypatch, tmp_path, f"by_{name}", text)
        logits, distances, problems = score_renditions(
            load_detector(location), folder, paths, distortions, 0, EVALUATION
        )
        seen = logits if name == "paths" else (logits * 0.1 + 0.5) * 255
        assert seen[:, 0] == pytest.approx(greys[:5])
        assert seen[:, 1] == pytest.approx(greys[:5] / 2, abs=1)
        assert np.isnan(distances).all()
        assert not problems
    pd.DataFrame({"path": index["path"], "score": greys}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(UserError, match="distorted"):
        score_renditions(
            load_detector(tmp_path / "s.csv"), folder, paths, distortions, 0, EVALUATION
        )


def test_weights_beside_an_onnx_file_are_a_part_of_it(tmp_path):
    path = write_onnx(tmp_path / "d.onnx")
    runs = [load_detector(path).card.run_fingerprint]
    for content in (b"one", b"two"):
        (tmp_path / "d.onnx.data").write_bytes(content)
        runs.append(load_detector(path).card.run_fingerprint)
    assert len(set(runs)) == 3


def test_two_functions_of_a_module_are_two_detectors(tmp_path, monkeypatch):
    text = "def score(paths): return []\ndef other(paths): return []\n"
    one = load_detector(write_function(monkeypatch, tmp_path, "pair", text))
    other = load_detector("python:pair:other")
    assert one.card.run_fingerprint != other.card.run_fingerprint


def test_crops_are_not_taken_for_pictures(tmp_path):
    (tmp_path / "s.csv").write_text("path,score\na.png,1\n")
    with pytest.raises(TypeError):
        load_detector(tmp_path / "s.csv").logits(np.zeros((2, 1, 1, 3), np.uint8))


def test_a_scale_makes_logits_of_scores(tmp_path):
    detector = load_detector(write_onnx(tmp_path / "d.onnx", gives="score"))
    assert not detector.card.has_scale
    scaled = give_scale(detector, 2.0, -1.0)
    pixels = np.full((3, SIDE, SIDE, 3), [[[[90]]], [[[128]]], [[[200]]]], np.uint8)
    assert scaled.card.has_scale
    assert scaled.logits(pixels) == pytest.approx(2 * detector.logits(pixels) - 1)
    replaced = dataclasses.replace(scaled, trained_on=scaled.trained_on)
    assert replaced.logits(pixels) == pytest.approx(scaled.logits(pixels))


def test_a_calibrated_function_is_loaded_in_the_run_that_saved_it(tmp_path, monkeypatch):
    location = write_function(monkeypatch, tmp_path, "kept", FUNCTIONS["paths"])
    scaled = give_scale(load_detector(location), 1.0, 0.0)
    path = str(tmp_path / "calibrated.safetensors")
    here = DetectorDataset(filepath=path, version=Version(None, "2026-01-01T00.00.00.000Z"))
    here.save(scaled)
    assert here.load() is scaled
    later = DetectorDataset(filepath=path, version=Version(None, None))
    with pytest.raises(DatasetError, match="only if you name it"):
        later.load()
    given = DetectorDataset(filepath=f"{tmp_path}/{location}@calibrated.safetensors")
    assert given.load().card == scaled.card
