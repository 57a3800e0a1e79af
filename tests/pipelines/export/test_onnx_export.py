"""A detector as an ONNX file: it says what the detector says, wherever it is copied."""

import copy
import json
import logging
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export_samples import EXPORT, make_lively_detector
from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.runner import SequentialRunner
from torch import nn
from training_samples import PREPROCESSING, make_network

from deepfake_detection.datasets.onnx_file import OnnxDataset
from deepfake_detection.errors import UserError
from deepfake_detection.faces.detection import read_centerface
from deepfake_detection.metrics.finished_scores import FinishedScores
from deepfake_detection.models.image_inputs import prepare_image
from deepfake_detection.pipelines.export import create_pipeline
from deepfake_detection.pipelines.export.agreement import (
    check_agreement,
    draw_pictures,
    run_onnx,
)
from deepfake_detection.pipelines.export.onnx_model import make_onnx_model


def _small_detector():
    detector = make_lively_detector("squeezenet1_1", 32)
    card = replace(detector.card, preprocessing=PREPROCESSING.model_dump(mode="json"))
    return replace(detector, network=make_network().eval(), card=card)


def test_it_gives_the_detectors_probabilities_of_every_kind_of_picture(exported):
    detector = exported.detector
    expected = [
        score.fake_probability for score in detector.score(exported.pictures, faces="given")
    ]
    assert np.ptp(expected) > 0.1
    prepared = [prepare_image(path, detector.preprocessing) for path in exported.pictures]
    pictures = np.stack([each.pixels[0] for each in prepared])
    together = run_onnx(exported.content, pictures)
    assert together.dtype == np.float32
    assert np.abs(together - expected).max() < 1e-4
    one_by_one = [run_onnx(exported.content, picture[None])[0] for picture in pictures]
    assert np.abs(np.array(one_by_one) - expected).max() < 1e-4
    # the unreadable one was left out
    assert exported.agreement.pictures == len(exported.pictures) == 6
    assert exported.agreement.largest_difference < 1e-4


def test_the_file_has_the_metadata_that_its_use_needs(exported):
    model = onnx.load_from_string(exported.content)
    said = {each.key: each.value for each in model.metadata_props}
    assert said["backbone"] == "squeezenet1_1"
    assert json.loads(said["classes"]) == {"real": "real", "fake_deepfake": "fake"}
    assert json.loads(said["known_fakes"]) == ["fake_deepfake"]
    assert float(said["threshold"]) == 0.3
    assert float(said["temperature"]) == exported.detector.card.temperature
    assert json.loads(said["preprocessing"]) == exported.detector.card.preprocessing
    assert json.loads(said["crop_recipe"]) == exported.detector.card.split["crop_recipe"]
    assert said["run_fingerprint"] == "cd" * 32
    assert said["note"] == "<n>"
    (given,), (got,) = model.graph.input, model.graph.output
    assert (given.name, got.name) == ("picture", "fake_probability")
    shape = [each.dim_param or each.dim_value for each in given.type.tensor_type.shape.dim]
    assert shape == ["n", 32, 32, 3]
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    # nothing of the machine that made it
    for place in (str(Path(torch.__file__).parents[1]), str(Path.cwd()), "site-packages"):
        assert place.encode() not in exported.content


def _run_alone(folder, *pictures):
    """Run prepare.py where none of this project's packages can be imported."""
    absent = ["deepfake_detection", "torch", "pydantic", "click", "cv2", "kedro"]
    code = (
        f"import runpy, sys; sys.modules |= dict.fromkeys({absent}); "
        "sys.argv = sys.argv[1:]; runpy.run_path('prepare.py', run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "prepare.py", "detector.onnx", *map(str, pictures)],
        cwd=folder, capture_output=True, text=True, check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip


def test_it_scores_crops_where_there_is_no_torch(exported, exported_folder):
    (exported_folder / "broken.png").write_bytes(b"no picture")
    names = [path.name for path in exported.pictures]
    done = _run_alone(exported_folder, *names, "broken.png")
    assert done.returncode == 1
    no_faces, broken = done.stderr.splitlines()
    assert no_faces.startswith("detector.onnx: ")
    assert "centerface.onnx" in no_faces
    assert broken.startswith("broken.png: ")
    scores = exported.detector.score(exported.pictures, faces="given")
    for line, score in zip(done.stdout.splitlines(), scores, strict=True):
        name, probability, verdict = line.split("\t")
        assert name == Path(str(score.path)).name
        assert float(probability) == pytest.approx(score.fake_probability, abs=2e-4)
        assert verdict == score.verdict


def test_it_scores_the_faces_of_photographs_as_the_detector_does(
    exported, exported_folder, photographs
):
    (exported_folder / "centerface.onnx").write_bytes(read_centerface())
    pictures = [photographs / name for name in ("one.png", "two.jpg", "none.png", "small.png")]
    done = _run_alone(exported_folder, *pictures)
    assert done.returncode == 1
    scores = exported.detector.score(pictures, errors="record")
    expected = [(score, face) for score in scores for face in score.faces]
    assert len(expected) == 3
    for line, (score, face) in zip(done.stdout.splitlines(), expected, strict=True):
        name, probability, verdict, box = line.split("\t")
        assert name == score.path
        assert float(probability) == pytest.approx(face.fake_probability, abs=2e-4)
        assert verdict == face.verdict
        assert [int(side) for side in box.split(",")] == pytest.approx(face.box, abs=0.5)
    unscored = [f"{score.path}: {score.error}" for score in scores if score.error]
    assert len(unscored) == 2
    assert done.stderr.splitlines() == unscored


def test_another_version_of_centerface_is_refused(exported_folder):
    (exported_folder / "centerface.onnx").write_bytes(b"another version")
    done = _run_alone(exported_folder, "photo.jpg")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("detector.onnx: ")
    assert "centerface.onnx" in done.stderr


def test_the_faces_of_photographs_are_compared(exported, photographs):
    agreement = check_agreement(exported.content, exported.detector, photographs, EXPORT)
    # each picture as it is, and in the middle of a larger one
    assert agreement.faces >= 6
    assert agreement.largest_difference < 1e-4
    card = replace(
        exported.detector.card, split=exported.detector.card.split | {"crop_recipe": None}
    )
    other = replace(exported.detector, card=card)
    assert check_agreement(exported.content, other, photographs, EXPORT).faces == 0


def test_a_recipe_that_is_not_the_detectors_is_noticed(exported, photographs):
    split = copy.deepcopy(exported.detector.card.split)
    split["crop_recipe"]["crop"]["margin"] = 2.0
    other = replace(exported.detector, card=replace(exported.detector.card, split=split))
    with pytest.raises(UserError, match=r"export\.tolerance"):
        check_agreement(exported.content, other, photographs, EXPORT)


def test_a_model_that_says_something_else_is_refused(exported):
    card = replace(exported.detector.card, temperature=exported.detector.card.temperature * 2)
    other = replace(exported.detector, card=card)
    with pytest.raises(UserError, match=r"export\.tolerance"):
        check_agreement(exported.content, other, exported.folder, EXPORT)
    network = copy.deepcopy(other.network)
    next(network.parameters()).data.fill_(math.nan)
    broken = replace(exported.detector, network=network)
    with pytest.raises(UserError):
        check_agreement(exported.content, broken, exported.folder, EXPORT)


def test_no_file_appears_if_it_disagrees_and_only_this_project_speaks(
    tmp_path,
    exported,
    capfd,
    caplog,
):
    place = tmp_path / "export/detector.onnx"
    catalog = DataCatalog(
        {
            "detector": MemoryDataset(_small_detector(), copy_mode="assign"),
            "pictures_to_check": MemoryDataset(exported.folder),
            "params:model": MemoryDataset("vgg16"),
            "params:export": MemoryDataset(EXPORT.model_copy(update={"tolerance": 1e-12})),
            "finished_scores": MemoryDataset(FinishedScores()),
            "onnx_detector": OnnxDataset(filepath=str(place), version=Version(None, "now")),
        }
    )
    caplog.set_level(logging.INFO)
    with pytest.raises(UserError, match=r"export\.tolerance"):
        SequentialRunner().run(create_pipeline(), catalog)
    assert not place.parent.exists()
    assert capfd.readouterr().err == ""
    said = [each for each in caplog.records if not each.name.startswith("kedro")]
    assert {each.name for each in said} == {"deepfake_detection.pipelines.export.nodes"}
    # the detector is of another backbone than the folder
    assert "--params model=squeezenet1_1" in said[0].message


class _Branching(nn.Module):
    def forward(self, batch):
        return batch.mean(dim=(2, 3))[:, :2] if batch.sum() > 0 else batch.sum(dim=(2, 3))


@pytest.mark.parametrize(
    ("network", "opset", "named"),
    [
        (_Branching(), None, "squeezenet1_1"),
        # the small network as it is
        (None, 99, r"'export\.opset'.* 99"),
        # too large for one file, and refused before it is made
        (nn.Linear(2**16, 2**14, device="meta"), None, r"squeezenet1_1 has 4\.0 GiB"),
    ],
)
def test_what_cannot_be_exported_ends_in_one_line(network, opset, named):
    detector = _small_detector()
    with pytest.raises(UserError, match=named) as caught:
        make_onnx_model(replace(detector, network=network or detector.network), opset)
    assert "\n" not in str(caught.value)


def test_pictures_are_drawn_from_each_class_in_turn(tmp_path):
    names = {"real": 5, "fake": 2, "": 1}
    for folder, count in names.items():
        (tmp_path / folder).mkdir(exist_ok=True)
        for number in range(count):
            (tmp_path / folder / f"{number}.png").touch()
    drawn = draw_pictures(tmp_path, seed=0)
    classes = [path.parent.relative_to(tmp_path).as_posix() for path in drawn]
    assert set(classes[:3]) == {".", "fake", "real"}
    assert len(set(drawn)) == 8
    assert drawn == draw_pictures(tmp_path, seed=0)
    assert any(drawn != draw_pictures(tmp_path, seed=seed) for seed in range(1, 6))


def test_a_folder_without_pictures_says_how_to_give_another(exported, tmp_path):
    (tmp_path / "text.txt").write_text("no picture")
    with pytest.raises(UserError, match="--params images=FOLDER"):
        check_agreement(exported.content, exported.detector, tmp_path, EXPORT)
