"""A detector in use: trained on all images, and scoring anyone's pictures."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from demo_project import MODEL, latest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.models.scoring import TRAINED_ON_IT

MODELS = f"data/demo/06_models/{MODEL}"
INFERENCE = "data/demo/07_model_output/inference"
FACES = "data/demo/01_raw/generated_faces"


def test_a_final_detector_learns_from_all_images_and_says_who_vouches(project, run_here, caplog):
    entry = f"{MODELS}/final_detector.safetensors"
    run_here(project, "final_training", calibration={"threshold": {"value": 0.9}})
    run = Detector.load(project / f"{MODELS}/detector.safetensors")
    final = Detector.load(project / entry)
    index = pd.read_parquet(latest(project, "data/demo/02_intermediate/image_index.parquet"))
    assert final.hashes_trained_on == {bytes.fromhex(each) for each in index["sha256"]}
    assert len(final.validated_on) == 0
    card = final.card
    assert card.best_validation_accuracy is None
    assert card.best_epoch == run.card.best_epoch
    assert card.vouched_by == {
        "run_fingerprint": run.card.run_fingerprint,
        "split_fingerprint": run.card.split["fingerprint"],
        "split_method": "group",
        "images": len(run.trained_on),
        "best_epoch": run.card.best_epoch,
        "best_validation_accuracy": run.card.best_validation_accuracy,
    }
    # the run's settings, whatever parameters say by now
    assert card.settings["training"] == run.card.settings["training"]
    assert card.threshold == run.card.threshold != 0.9
    assert card.run_fingerprint != run.card.run_fingerprint
    assert card.split["images"] == {"train": index["class_name"].value_counts().to_dict()}
    history = pd.read_csv(latest(project, f"{MODELS}/final_training_history.csv"))
    assert len(history) == card.best_epoch
    assert history["validation_accuracy"].isna().all()
    assert not (project / MODELS / "training_checkpoints").exists()
    assert "has no score of its own" in caplog.text

    given = {"detector": str(project / entry)}
    with pytest.raises(UserError, match="nothing has scored its settings"):
        run_here(project, "final_training", **given)
    with pytest.raises(UserError, match="trained on another split"):
        run_here(project, "evaluation", **given)
    with pytest.raises(UserError, match=f"add model={MODEL} to --params"):
        run_here(project, "final_training", model="resnet18", detector=str(
            latest(project, f"{MODELS}/detector.safetensors")
        ))  # fmt: skip
    with pytest.raises(UserError, match=r"'final_training.epochs' is 99, and the run had 2"):
        run_here(project, "final_training", final_training={"epochs": 99})

    # and scores a folder
    run_here(project, "inference", images=f"{FACES}/real", **given)
    scores = pd.read_csv(latest(project, f"{INFERENCE}/scores.csv"))
    assert set(scores["detector"]) == {card.run_fingerprint}
    assert scores["warning"].str.contains(TRAINED_ON_IT).all()


def test_a_folder_is_scored_and_answers_are_written(project, tmp_path, run_here, caplog):
    folder = tmp_path / "pictures"
    shutil.copytree(project / FACES / "fake_deepfake", folder)
    (folder / "NA.jpg").write_bytes(b"not a picture")
    source = {"rule": "consecutive", "size": 5, "pattern": None}
    answers = {"name_column": "Id", "value_column": "Expected", "unreadable": 0}
    run_here(
        project, "inference", images=str(folder),
        inference={"source": source, "submission": answers},
    )  # fmt: skip
    bootstrap_project(project)
    with KedroSession.create(project_path=project, env="demo") as session:
        catalog = session.load_context().catalog
        scores, sources, submission = (
            catalog.load(name) for name in ("scores", "source_scores", "submission")
        )
    names = [*(f"{number}.jpg" for number in range(50)), "NA.jpg"]
    assert scores["path"].tolist() == names
    assert scores["error"].notna().tolist() == [name == "NA.jpg" for name in names]
    assert scores["fake_probability"].isna().sum() == 1
    assert set(scores["known_fakes"]) == {"fake_deepfake, fake_face2face"}
    assert sources["images"].tolist() == [5] * 10
    raw = latest(project, f"{INFERENCE}/submission.csv").read_text().splitlines()
    assert raw[0] == "Id,Expected"
    assert [line.split(",")[0] for line in raw[1:]] == [str(n) for n in range(50)] + ["NA"]
    # also where a verdict is unsure; the file without one is called fake
    real = scores["fake_probability"] < scores["threshold"]
    assert submission["Expected"].tolist() == real.astype(int).tolist()
    assert "1 of 51 files" in caplog.text
    assert "generated faces" in caplog.text
    # pipeline and Python agree
    detector = Detector.load(project / f"{MODELS}/detector.safetensors")
    some = scores[scores["error"].isna()].sample(6, random_state=0)
    found = detector.score([folder / path for path in some["path"]], device="cpu")
    assert np.allclose(
        [each.fake_probability for each in found], some["fake_probability"], atol=1e-4
    )
    assert not (project / INFERENCE / "scoring_checkpoints").exists()


def test_an_interrupted_scoring_says_in_one_line_how_to_go_on(project, tmp_path, run_here, caplog):
    folder = tmp_path / "many"
    folder.mkdir()
    faces = sorted((project / FACES / "real").iterdir())
    for number in range(800):
        (folder / f"{number}.jpg").hardlink_to(faces[number % len(faces)])
    process = subprocess.Popen(
        [
            sys.executable, "-m", "kedro", "run", "--env", "demo", "--pipelines", "inference",
            "--params", f"images={folder},inference.batch_size=4",
        ],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    state = project / INFERENCE / "scoring_checkpoints"
    while not list(state.glob("*.jsonl")) or not next(state.glob("*.jsonl")).stat().st_size:
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = [line for line in err.splitlines() if line.startswith("Error")]
    # the path from where the user stands
    assert f" {state.relative_to(project)}" in line
    # a checksum and a score in each line
    kept = [each for each in next(state.glob("*.jsonl")).read_text().splitlines() if each]
    assert all(json.loads(each.split(" ", 1)[1]) for each in kept)
    assert len(kept) % 4 == 0
    assert f"{len(kept)} of 800 files" in line
    run_here(project, "inference", images=str(folder), inference={"batch_size": 4})
    assert f"{len(kept)} of 800 files" in caplog.text
    assert len(pd.read_csv(latest(project, f"{INFERENCE}/scores.csv"))) == 800
    assert not state.exists()


def test_pictures_that_are_not_there_are_named(demo_project, run_here):
    with pytest.raises(UserError, match=r"images=nowhere"):
        run_here(demo_project, "inference", images="nowhere")
    with pytest.raises(UserError, match=r"unlabelled_images.*images="):
        run_here(demo_project, "inference")
