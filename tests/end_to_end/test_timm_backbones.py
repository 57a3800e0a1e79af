"""Backbones of timm through the pipelines, from pictures to a detector, heat maps and ONNX."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from demo_project import latest, make_project

from deepfake_detection import Detector
from deepfake_detection.models.heat_maps import HeatMaps

MODELS = "data/demo/06_models"


@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_efficientnet"])
def test_a_network_of_timm_is_trained_scored_explained_and_exported(project, run_here, name):
    model, folder = f"timm/{name}", f"timm__{name}"
    sizes = {"backbones": {f"timm/{name.split('.')[0]}": {"crop": 48}}}
    for pipeline in ("training", "evaluation", "explanation", "export"):
        run_here(project, pipeline, model=model, **sizes)

    detector = Detector.load(project / f"{MODELS}/{folder}/detector.safetensors")
    assert detector.card.backbone == model
    # what timm says of it, in the file: scoring asks timm no more
    assert detector.card.preprocessing["resize"] == 50
    assert detector.card.preprocessing["mean"] == list(timm.get_pretrained_cfg(name).mean)
    assert "timm" in detector.card.versions
    assert detector.training_distance is not None
    metrics = latest(project, f"data/demo/07_model_output/{folder}/metrics.json")
    assert json.loads(metrics.read_text())["run_fingerprint"] == detector.card.run_fingerprint
    heat_maps = latest(project, f"data/demo/08_reporting/{folder}/heat_maps.png")
    assert heat_maps.stat().st_size > 10_000

    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    heats = [HeatMaps(detector).explain(pixels, towards) for towards in ("fake", "real")]
    assert np.stack(heats).max(axis=(0, 2, 3)).tolist() == [1, 1]
    session = onnxruntime.InferenceSession(
        latest(project, f"{MODELS}/{folder}/export/detector.onnx")
    )
    (found,) = session.run(None, {"picture": pixels})
    expected = detector.probabilities(detector.logits(pixels))
    assert found == pytest.approx(expected, abs=1e-4)
    card = latest(project, f"{MODELS}/{folder}/export/model_card.md").read_text(encoding="utf-8")
    assert f"Backbone {model} with a two-class head" in card


_WITHOUT_TIMM = """
import sys
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

bootstrap_project(sys.argv[1])
with KedroSession.create(project_path=sys.argv[1], env="demo") as session:
    session.load_context().catalog
    assert pipelines["__default__"]
assert "timm" not in sys.modules
"""


def test_torchvisions_backbones_do_without_timm(tmp_path):
    project = make_project(tmp_path / "project")
    subprocess.run([sys.executable, "-c", _WITHOUT_TIMM, str(project)], check=True, cwd=project)


@pytest.mark.parametrize("model", ["timm/test_vit", "resnet18"])
def test_a_file_of_another_network_ends_in_one_line_before_images_are_read(kedro, tmp_path, model):
    project = make_project(tmp_path / "project")
    torch.save({"state_dict": {"module.fc.weight": torch.zeros(2, 4)}}, tmp_path / "other.pth")
    given = f"model={model},training.weights={tmp_path}/other.pth"
    done = kedro(project, "run", "--env", "demo", "--params", given)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith(f"Error: parameter 'training.weights': {tmp_path}/other.pth ")
    assert not (project / "data/demo/02_intermediate").exists()
    assert not (project / "data/demo/05_model_input").exists()
