"""Training in several processes, on one machine and on two."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import psutil
from demo_project import MODEL, Start, latest, wait_for
from safetensors.torch import load_file

from deepfake_detection import Detector

DETECTOR = f"data/demo/06_models/{MODEL}/detector.safetensors"


def test_a_killed_process_is_named_and_the_same_command_goes_on(
    project: Path, start: Start, run_here, caplog
) -> None:
    before = latest(project, DETECTOR)
    process = start(epochs=6, devices=2)
    wait_for(process, "Epoch 2/6")
    workers = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    assert len(workers) == 2
    workers[1].kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    lines = err.strip().splitlines()
    assert re.fullmatch(r"Error: training process \d .* was ended by SIGKILL\..*", lines[0]), err
    assert re.fullmatch(r"It is kept up to the end of epoch \d+ in .* goes on .*", lines[1]), err
    assert len(lines) == 2
    assert latest(project, DETECTOR) == before

    training = {"epochs": 6, "devices": 2, "checkpoint": {"minutes": 0}}
    run_here(project, "training", training=training)
    assert "Going on after epoch" in caplog.text
    detector = Detector.load(latest(project, DETECTOR))
    assert detector.card.computed_on["processes"] == 2


def test_a_further_machine_joins_by_one_command(project: Path, start: Start) -> None:
    address = f"localhost:{_free_port()}"
    joining = subprocess.Popen(
        [sys.executable, "-m", "deepfake_detection.join_training", address, "--devices", "1",
         "--pixel-stores", "data/demo/05_model_input/pixel_cache"],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        process = start(epochs=1, machines=2, devices=1, rendezvous=address)
        said, problems = process.communicate(timeout=120)
        assert process.returncode == 0, said + problems
        out, err = joining.communicate(timeout=60)
    finally:
        joining.kill()
    assert joining.returncode == 0, out + err
    assert "2 machines" in said
    assert err.strip().splitlines()[-1].endswith("The training has ended")
    assert len(err.strip().splitlines()) == 2
    weights = load_file(latest(project, DETECTOR))
    assert all(value.isfinite().all() for value in weights.values())


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])
