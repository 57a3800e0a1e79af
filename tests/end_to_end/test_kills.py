"""Runs that are killed at random moments, in all pipelines."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from demo_project import MODEL, change_yaml, latest
from safetensors.torch import load_file

from deepfake_detection.atomic_write import check_whole

FACES = "data/demo/01_raw/generated_faces"
MODELS, OUTPUT = f"data/demo/06_models/{MODEL}", f"data/demo/07_model_output/{MODEL}"
DETECTOR = f"{MODELS}/detector.safetensors"
# of each pipeline its parameters, and a result
PIPELINES = {
    "face_extraction": ("", "data/demo/03_primary/faces/face_index.parquet"),
    "data_preparation": ("", "data/demo/05_model_input/split.parquet"),
    "training": ("training.epochs=4,training.checkpoint.minutes=0", DETECTOR),
    "__default__": ("", f"{OUTPUT}/metric_table.csv"),
    "evaluation,robustness": ("", f"{OUTPUT}/robustness_table.csv"),
    "calibration": ("calibration.threshold.rule=equal_error", DETECTOR),
    "final_training": ("", f"{MODELS}/final_detector.safetensors"),
    "inference": (f"images={FACES}", "data/demo/07_model_output/inference/scores.csv"),
    "paired_comparison": (
        "other_detector=kept.safetensors",
        "data/demo/07_model_output/paired_comparison/paired_differences.csv",
    ),
    "mine": ("", "data/demo/08_reporting/studies/mine/table.csv"),
    "export": (f"images={FACES}", f"{MODELS}/export/detector.onnx"),
}


def read(path):
    """What of a result does not depend on the time."""
    if path.suffix == ".safetensors":
        return {name: each.numpy().tobytes() for name, each in load_file(path).items()}
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        return table.drop(columns=[each for each in table if "seconds" in each]).to_csv()
    return path.read_bytes()


def start(project, pipelines, params):
    command = [sys.executable, "-m", "kedro", "run", "--env", "demo", "--pipelines", pipelines]
    return subprocess.Popen(
        command + (["--params", params] if params else []), cwd=project, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("pipelines", PIPELINES)
def test_ten_kills_lose_nothing(project, pipelines, tmp_path):
    params, result = PIPELINES[pipelines]
    shutil.copy(latest(project, DETECTOR), project / "kept.safetensors")
    rows = {"one": {"training": {"epochs": 2}}, "two": {"training": {"epochs": 1}}}
    change_yaml(project / "conf/demo/parameters_studies.yml", studies={"mine": "My own"}, mine=rows)
    # as the main job does, from nothing
    undisturbed = shutil.copytree(project, tmp_path / "undisturbed")
    started = time.monotonic()
    process = start(undisturbed, pipelines, params)
    assert process.communicate()[1] == ""
    seconds = time.monotonic() - started
    for number in range(10):
        process = start(project, pipelines, params)
        moment = random.uniform(0.1, 1) * seconds  # noqa: S311
        sent = random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])  # noqa: S311
        try:
            _, err = process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, sent)
            _, err = process.communicate()
        print(f"{number}: {sent.name} after {moment:.1f} of {seconds:.1f} s: {process.returncode}")
        # all is saved when joblib, at the very end, waits for its threads
        assert "Traceback" not in err or "_python_exit" in err, err
        for checksum in project.rglob("*.sha256"):
            if (file := checksum.with_suffix("")).exists():
                check_whole(file)
    process = start(project, pipelines, params)
    assert process.communicate()[1] == ""
    assert read(latest(project, result)) == read(latest(undisturbed, result))
