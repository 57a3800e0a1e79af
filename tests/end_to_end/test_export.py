"""The pipeline `export` in a project of generated faces."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from demo_project import MODEL, latest
from detector_samples import make_sensitive_detector

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.models.detector_file import write_detector

EXPORT = f"data/demo/06_models/{MODEL}/export"
FACES = "data/demo/01_raw/generated_faces"


def test_a_given_detector_is_exported_without_the_training_images(project, run_here, tmp_path):
    # of fewer operators than the project's, which makes it faster to export; with its fingerprints
    own = Detector.load(project / f"data/demo/06_models/{MODEL}/detector.safetensors").card
    theirs = make_sensitive_detector("squeezenet1_1")
    card = replace(theirs.card, split=own.split, run_fingerprint=own.run_fingerprint)
    write_detector(replace(theirs, card=card), tmp_path / "theirs.safetensors")
    given = {"detector": str(tmp_path / "theirs.safetensors")}
    faces = Path(shutil.move(project / FACES, tmp_path / "faces"))
    with pytest.raises(UserError, match=r"generated_faces.*images=FOLDER"):
        run_here(project, "export", **given)
    assert not (project / EXPORT).exists()
    run_here(project, "export", images=str(faces), **given)

    for name in ("detector.onnx", "prepare.py"):
        assert latest(project, f"{EXPORT}/{name}").stat().st_size
    written = latest(project, f"{EXPORT}/model_card.md").read_text(encoding="utf-8")
    assert "# A squeezenet1_1 detector" in written
    # metrics that were found by the run's fingerprint
    assert "| ROC AUC |" in written
    assert own.split["note"] in written
