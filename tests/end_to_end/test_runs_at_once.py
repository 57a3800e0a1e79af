"""Runs that are started at the same time in one project."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from demo_project import MODEL, change_yaml

from deepfake_detection import Detector

FACES = "data/demo/01_raw/generated_faces"
TRAINING = "training,evaluation,robustness,reporting"
# pipelines and parameters of both, and how many of them may stop in one line
PAIRS = {
    "two trainings": ((TRAINING, "training.epochs=3"), (TRAINING, "training.epochs=1"), 0),
    "one training twice": ((TRAINING, "training.epochs=3"), (TRAINING, "training.epochs=3"), 1),
    "two models": (
        (TRAINING, "training.epochs=1"), (TRAINING, "training.epochs=1,model=squeezenet1_1"), 0
    ),
    "the main job twice": (("__default__", "split.seed=1"), ("__default__", "split.seed=2"), 0),
    "the main job and the next evaluation": (
        ("__default__", "training.epochs=1"), ("evaluation,reporting", "evaluation.batch_size=7"), 0
    ),
    "a study twice": (("mine", ""), ("mine", ""), 1),
    "two scorings": (
        ("inference", f"images={FACES}/real"), ("inference", f"images={FACES}/real/3.jpg"), 0
    ),
    "one scoring twice": (
        ("inference", f"images={FACES}"), ("inference", f"images={FACES}"), 1
    ),
    "one extraction twice": (("face_extraction", ""), ("face_extraction", ""), 1),
    "two extractions": (
        ("face_extraction", "face_extraction.frames_per_video=2"), ("face_extraction", ""), 0
    ),
    "final training twice": (("final_training", ""), ("final_training", ""), 1),
    "calibrations": (
        ("calibration,evaluation", "calibration.threshold.value=0.3"),
        ("calibration,evaluation", "calibration.threshold.value=0.7"), 0
    ),
}  # fmt: skip


def start(project, pipelines, params):
    command = [sys.executable, "-m", "kedro", "run", "--env", "demo", "--pipelines", pipelines]
    return subprocess.Popen(
        command + (["--params", params] if params else []), cwd=project, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def manifests(project):
    found = [json.loads(path.read_text()) for path in project.rglob("run_manifest.json/*/*.json")]
    return [each for each in found if each["status"] == "finished"]


def assert_whole(project, manifest):
    """What a run wrote belongs together."""
    model = manifest["params"].get("model", MODEL)
    written = manifest["written"]
    detector = None
    if at := written.get("detector"):
        file = project / f"data/demo/06_models/{model}/detector.safetensors/{at}"
        detector = Detector.load(file / "detector.safetensors")
    if at := written.get("metrics"):
        output = project / f"data/demo/07_model_output/{model}"
        metrics = json.loads((output / f"metrics.json/{at}/metrics.json").read_text())
        predictions = pd.read_csv(output / f"predictions.csv/{at}/predictions.csv")
        assert metrics["rows"]["predictions"] == len(predictions)
        assert set(predictions["run_fingerprint"]) == {metrics["run_fingerprint"]}
        if detector:
            assert metrics["run_fingerprint"] == detector.card.run_fingerprint
            assert metrics["threshold"] == detector.card.threshold
    if at := written.get("scores"):
        output = project / "data/demo/07_model_output/inference"
        scores = pd.read_csv(output / f"scores.csv/{at}/scores.csv")
        submission = pd.read_csv(output / f"submission.csv/{at}/submission.csv")
        assert len(scores) == len(submission)


@pytest.mark.parametrize(
    "pair",
    [
        name if name == "two scorings"
        else pytest.param(name, marks=pytest.mark.slow)
        for name in PAIRS
    ],
)  # fmt: skip
def test_each_ends_as_if_alone_or_stops_in_one_line(project, pair):
    *both, may_stop = PAIRS[pair]
    rows = {"one": {"training": {"epochs": 2}}, "two": {"training": {"epochs": 1}}}
    change_yaml(project / "conf/demo/parameters_studies.yml", studies={"mine": "My own"}, mine=rows)
    before = len(manifests(project))
    running = [start(project, *each) for each in both]
    said = [process.communicate() for process in running]
    codes = [process.returncode for process in running]
    stopped = [err for (_, err), code in zip(said, codes, strict=True) if code]
    assert set(codes) <= {0, 1}, said
    assert len(stopped) <= may_stop, stopped
    for err in stopped:
        (line,) = err.strip().splitlines()
        assert line.startswith("Error: another process")
        assert ".lock" in line
    assert "Traceback" not in str(said)
    finished = manifests(project)
    assert len(finished) == before + codes.count(0)
    for manifest in finished:
        assert_whole(project, manifest)
    # and what was stopped goes on afterwards
    if stopped:
        again = start(project, *both[0])
        assert again.communicate()[1] == ""
        assert again.returncode == 0
