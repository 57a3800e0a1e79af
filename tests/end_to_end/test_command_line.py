"""What a stranger types, in real processes."""

import json
import re
import subprocess
from datetime import datetime
from pathlib import Path

import pandas as pd
from demo_project import latest

DemoRun = tuple[Path, subprocess.CompletedProcess[str]]


def _the_error(done):
    """The one line of an error, without a traceback."""
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: "), done.stderr
    return lines[-1]


def test_the_main_job_says_what_it_does_and_ends_with_the_report(demo_run):
    project, done = demo_run
    said = done.stdout
    for line in (
        "Made 150 faces",
        "Found 150 images (50 real, 50 fake_deepfake, 50 fake_face2face)",
        "Split by group: 90 train, 30 validation, 30 test",
        "Epoch 1/2",
        "Epoch 2/2",
        "Score on validation",
        "Score on test",
        "Robustness on test, JPEG quality 30: accuracy",
        "drawings made by this project",
    ):
        assert line in said
    box = said.strip().splitlines()[-6:]
    told = dict(line.strip("│ ").split(maxsplit=1) for line in box[1:-1])
    report = latest(project, "data/demo/08_reporting/shufflenet_v2_x0_5/report.html")
    assert told["Report"] == str(report.relative_to(project))
    folder = "data/demo/07_model_output/shufflenet_v2_x0_5"
    scored = pd.read_csv(latest(project, f"{folder}/predictions.csv")).query("subset == 'test'")
    right = scored[scored["predicted"] == scored["label"]]["label"]
    assert f"{(right == 1).sum()} of 20 fakes" in told["Verdict"]
    assert f"{(right == 0).sum()} of 10 real" in told["Verdict"]
    command, detector = told["Next"].split()
    assert Path(command).name == "deepfake-page"
    assert latest(project, detector).exists()


def test_the_main_job_is_calm(demo_run):
    _, done = demo_run
    lines = done.stdout.splitlines()
    # a command is never broken, however deep the folder of the environment lies
    assert all(len(line) <= 110 for line in lines if not line.startswith("Next"))
    assert sum(line[:1].isdigit() for line in lines) < 40
    assert "Warning" not in done.stdout + done.stderr
    assert not any("/project/data" in line for line in lines)
    warnings = [line for line in done.stdout.splitlines() if "WARNING" in line]
    # the one thing to be warned of in a set as small as this: how few groups it has
    assert len(warnings) == 3
    assert "sure verdicts" in warnings[0]
    assert all("holds only 2 groups of images" in line for line in warnings[1:])


def test_a_run_without_a_page_ends_without_a_box(project, kedro):
    given = "images=data/demo/01_raw/generated_faces/real/0.jpg"
    done = kedro(project, "run", "--env", "demo", "--pipelines", "inference", "--params", given)
    assert done.returncode == 0, done.stderr
    assert "╭" not in done.stdout
    assert "Scores: data/demo/07_model_output/inference/scores.csv" in " ".join(done.stdout.split())


def test_every_entry_of_the_main_job_is_a_file(demo_project):
    model = "shufflenet_v2_x0_5"
    for entry in (
        "02_intermediate/image_index.parquet",
        "02_intermediate/rejected_images.csv",
        "05_model_input/split.parquet",
        "05_model_input/split_summary.json",
        "05_model_input/leakage_audit.csv",
        "05_model_input/leakage_summary.json",
        "08_reporting/leakage_gallery.png",
        "03_primary/file_properties.parquet",
        "03_primary/shortcut_audit.csv",
        "03_primary/shortcut_summary.json",
        "08_reporting/shortcut_figure.png",
        f"06_models/{model}/detector.safetensors",
        f"06_models/{model}/training_history.csv",
        f"07_model_output/{model}/predictions.csv",
        f"07_model_output/{model}/metric_table.csv",
        f"07_model_output/{model}/metrics.json",
        f"07_model_output/{model}/robustness_table.csv",
        f"07_model_output/{model}/shortcut_scores.csv",
        f"08_reporting/{model}/findings.json",
        *(
            f"08_reporting/{model}/{figure}.png"
            for figure in (
                "loss_curve", "accuracy_curve", "score_histogram", "confusion_matrix", "roc_curve",
                "precision_recall_curve", "reliability_diagram", "robustness_figure", "heat_maps",
                "false_case_figure",
            )
        ),
    ):  # fmt: skip
        assert latest(demo_project, f"data/demo/{entry}").stat().st_size > 0


def test_each_run_leaves_a_manifest_that_the_report_shows(project, kedro):
    report = "data/demo/08_reporting/shufflenet_v2_x0_5/report.html"
    manifest = "data/demo/08_reporting/shufflenet_v2_x0_5/run_manifest.json"
    first, page = json.loads(latest(project, manifest).read_text()), latest(project, report)
    assert first["status"] == "finished"
    assert first["read"] == {}
    assert {"split", "detector", "predictions", "metrics", "report"} <= first["written"].keys()
    assert first["command"] == "kedro run --env demo"
    assert first["data"] == "data/demo"
    assert first["hardware"]["cores"] >= 1
    assert datetime.fromisoformat(first["started"]) <= datetime.fromisoformat(first["ended"])
    for entry, version in first["written"].items():
        assert list(project.glob(f"data/demo/0*/**/{version}/*")), entry
    command = ["run", "--env", "demo", "--pipelines", "reporting", "--params"]
    done = kedro(project, *command, "reporting.gallery_size=7")
    assert done.returncode == 0, done.stderr
    second = json.loads(latest(project, manifest).read_text())
    assert second["params"] == {"reporting": {"gallery_size": 7}}
    for entry in ("detector", "predictions", "metrics"):
        assert second["read"][entry] == first["written"][entry]
    # on the latest versions, and beside the page that was there
    assert page.exists()
    shown = latest(project, report).read_text()
    assert second["started"] in shown
    assert re.search(r"run took until here</dt><dd>0:\d\d:\d\d<", shown)


def test_a_truncated_detector_is_named(project, kedro):
    detector = latest(project, "data/demo/06_models/shufflenet_v2_x0_5/detector.safetensors")
    detector.write_bytes(detector.read_bytes()[:5000])
    done = kedro(project, "run", "--env", "demo", "--pipelines", "evaluation")
    assert "detector.safetensors is truncated, damaged" in _the_error(done)
