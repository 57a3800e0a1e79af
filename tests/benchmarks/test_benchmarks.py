"""The benchmark scripts, on a network and images small enough to be measured in a moment."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from deepfake_detection.images.pixel_cache import PixelCache, PixelRequest
from deepfake_detection.parameters import TrainingParameters

FOLDER = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(FOLDER))

import face_extraction_speed  # noqa: E402
import face_scoring_speed  # noqa: E402
import scoring_speed  # noqa: E402
import timing  # noqa: E402
import training_speed  # noqa: E402
from training_speed import BareStep, PlainRecipe, ProjectTraining  # noqa: E402

MODEL, BATCH = "shufflenet_v2_x0_5", 4
TINY = [
    "--backbones", MODEL, "--resize", "36", "--crop", "32", "--batch-sizes", str(BATCH),
    "--precisions", "fp32", "--seconds", "0.01", "--repeats", "2", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory, photograph, encode, put_files):
    names = [f"{name}/{number}.png" for number in range(3) for name in ("real", "fake")]
    files = {name: encode(photograph(seed, (44, 40))) for seed, name in enumerate(names)}
    return put_files(tmp_path_factory.mktemp("images"), files)


@pytest.mark.parametrize(
    ("task", "options", "others"),
    [
        pytest.param("training", ["--workers", "0"], ["plain", "bare"], marks=pytest.mark.slow),
        ("scoring", [], ["forward"]),
    ],
)
def test_a_script_writes_a_table_and_a_figure(task, options, others, images, tmp_path):
    if task == "scoring":
        workloads = scoring_speed.WORKLOADS
        timing.run_benchmark(task, options_for(images, tmp_path), scoring_speed.measure, workloads)
    else:
        command = [FOLDER / f"{task}_speed.py", *TINY, "--output", tmp_path, *options]
        subprocess.run([sys.executable, *command, "--count", "5"], check=True)
    (row,) = pd.read_csv(tmp_path / f"{task}_speed.csv").to_dict("records")
    assert (row["backbone"], row["crop"], row["batch_size"]) == (MODEL, 32, BATCH)
    assert (row["precision"], row["repeats"], row["compile"]) == ("fp32", 2, False)
    assert row["images_of_a_pass"] % BATCH == 0
    assert pd.isna(row["note"])
    for name in (task, *others):
        assert row[f"{name}_images_per_second"] > 0
        assert row[f"{name}_memory_mb"] > 50
    for name in others:
        low, middle, high = (row[f"against_{name}{end}"] for end in ("_low", "", "_high"))
        assert 0 < low <= middle <= high
        # medians of two passes: their ratio lies between those of the passes
        ratio = row[f"{task}_images_per_second"] / row[f"{name}_images_per_second"]
        assert low * 0.99 <= ratio <= high * 1.01
    if task == "training":
        assert row["plain_workers"] == 0
        assert row["validation_images_per_second"] > 0
        assert row["saving_seconds"] > 0
    with Image.open(tmp_path / f"{task}_speed.png") as figure:
        assert min(figure.size) > 100


def options_for(images, output):
    paths = ["--images", str(images), "--output", str(output)]
    return timing.option_parser("").parse_args([*TINY, *paths])


def test_a_folder_without_images_is_named_in_one_line(tmp_path):
    with pytest.raises(SystemExit, match=rf"^.*{tmp_path}.*$"):
        timing.run_benchmark("training", options_for(tmp_path, tmp_path / "output"), dict, {})


class _NeedsTooMuchMemory(BareStep):
    def _run_pass(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_batch_that_needs_too_much_memory_is_a_row_with_a_note(images, tmp_path, monkeypatch):
    monkeypatch.setattr(training_speed, "BareStep", _NeedsTooMuchMemory)
    options = options_for(images, tmp_path)
    timing.run_benchmark("training", options, training_speed.measure, training_speed.WORKLOADS)
    assert pd.read_csv(tmp_path / "training_speed.csv")["note"].tolist() == ["not enough memory"]
    assert not (tmp_path / "training_speed.png").exists()


def test_precisions_that_are_the_same_are_measured_once(images, tmp_path):
    options = options_for(images, tmp_path)
    options.precisions = ["fp32", "auto", "fp32"]
    precisions = [setup.precision for setup in timing.list_setups(options)]
    assert precisions in (["fp32"], ["fp32", "bf16"])


def test_the_figure_shows_each_row():
    row = {
        "backbone": MODEL, "crop": 32, "precision": "fp32", "device": "CPU",
        "forward_images_per_second": 40.0, "against_forward": 0.25,
    }  # fmt: skip
    speeds = {"batch_size": [4, 8], "scoring_images_per_second": [10.0, 20.0]}
    table = pd.DataFrame(speeds).assign(**row)
    names = {"scoring": "this project", "forward": "bare forward pass"}
    panels = timing.draw_speeds(table, "scoring", names).axes
    assert [[bar.get_width() for bar in axes.patches] for axes in panels] == [[10, 40], [20, 40]]
    assert "×0.25" in panels[0].texts[1].get_text()


def test_the_plain_recipe_has_the_gradients_of_this_project(images, tmp_path):
    """Without augmentation and in the same order."""
    options = options_for(images, tmp_path)
    (setup,) = timing.list_setups(options)
    settings = setup.training.model_dump()
    settings["augmentation"] |= {"flip": 0, "rotation": 0}
    training = TrainingParameters.model_validate(settings | {"shuffle": False})
    setup = replace(setup, training=training, batches=1)
    with timing.open_sample(options) as sample:
        PixelCache(sample.scratch).build(
            PixelRequest(sample.folder, sample.paths, sample.sha256s, setup.preprocessing)
        )
        plain, own = PlainRecipe(setup, sample, 0), ProjectTraining(setup, sample)
        for workload in (plain, own):
            workload.time_pass()
    states = [plain.optimizer.state_dict(), own.trainer.state_dict()["optimizer"]]
    # after the first step, Adam's mean of gradients is a tenth of the gradient
    plain_means, own_means = (
        torch.cat([each["exp_avg"].flatten() for each in state["state"].values()])
        for state in states
    )
    assert (plain_means - own_means).norm() <= 1e-2 * plain_means.norm()


def test_face_extraction_is_measured_in_all_its_parts(tmp_path, monkeypatch):
    options = ["--frames", "4", "--key-frames", "3", "--repeats", "1", "--videos", "1"]
    monkeypatch.setattr(
        sys, "argv", ["face_extraction_speed.py", *options, "--output", str(tmp_path)]
    )
    face_extraction_speed.main()
    table = pd.read_csv(tmp_path / "face_extraction_speed.csv")
    assert table["key_frames_every"].tolist() == [3]
    assert (table.drop(columns="key_frames_every") > 0).all(axis=None)


@pytest.mark.slow
def test_latency_of_the_page_is_a_row_for_each_number_of_clients(tmp_path):
    options = ["--requests", "3", "--clients", "1", "3", "--backbone", MODEL, "--crop", "32"]
    script = [sys.executable, FOLDER / "page_latency.py", *options, "--output", tmp_path]
    done = subprocess.run(script, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "page_latency.csv")
    assert table["clients"].tolist() == [1, 3]
    assert (table["p50_seconds"] > 0).all()
    assert (table["p99_seconds"] >= table["p50_seconds"]).all()


def test_scoring_of_faces_is_compared_with_its_parts(tmp_path, monkeypatch):
    options = [
        "--backbone", MODEL, "--resize", "36", "--crop", "32", "--photographs", "2",
        "--repeats", "2", "--calls", "2", "--clips", "1", "--frames", "4",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["face_scoring_speed.py", *options, "--output", str(tmp_path)])
    face_scoring_speed.main()
    turns = pd.read_csv(tmp_path / "face_scoring_speed.csv")
    parts = turns["detection"] + turns["forward"]
    assert len(turns) == 2
    assert (turns > 0).all(axis=None)
    assert list(turns["parts_to_scoring"]) == pytest.approx(list(parts / turns["scoring"]))
    latency = pd.read_csv(tmp_path / "latency.csv").set_index("of")
    assert latency["repeats"].to_dict() == {"photograph": 2, "clip": 1}
    assert (latency["min"] <= latency["p50"]).all()
    assert (latency["p50"] <= latency["p99"]).all()
