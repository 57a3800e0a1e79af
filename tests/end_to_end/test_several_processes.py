"""Training in several processes from the command line."""

import psutil
import pytest
from demo_project import MODEL, latest, wait_for

from deepfake_detection import Detector

DETECTOR = f"data/demo/06_models/{MODEL}/detector.safetensors"


@pytest.mark.slow
def test_a_killed_process_is_named_and_the_same_command_goes_on(project, start, run_here, caplog):
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
    assert len(lines) == 1, err
    assert lines[0].startswith("Error: training process ")
    assert "SIGKILL" in lines[0]
    assert "training_checkpoints" in lines[0]
    assert latest(project, DETECTOR) == before

    training = {"epochs": 6, "devices": 2, "checkpoint": {"minutes": 0}}
    run_here(project, "training", training=training)
    assert "Epoch 1/6" not in caplog.text
    assert "Epoch 6/6" in caplog.text
    detector = Detector.load(latest(project, DETECTOR))
    assert detector.card.computed_on["processes"] == 2
