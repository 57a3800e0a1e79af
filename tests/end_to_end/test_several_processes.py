"""Training in several processes."""

import re
from pathlib import Path

import psutil
from demo_project import MODEL, Start, latest, wait_for

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
