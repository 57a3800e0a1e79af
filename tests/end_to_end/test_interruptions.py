"""Training that is killed or interrupted, in real processes."""

import os
import random
import re
import signal
import time

import numpy as np
import pandas as pd
import pytest
from demo_project import MODEL, latest, wait_for
from safetensors.torch import load_file

from deepfake_detection.errors import UserError

DETECTOR = f"data/demo/06_models/{MODEL}/detector.safetensors"
HISTORY = f"data/demo/06_models/{MODEL}/training_history.csv"
STATES = f"data/demo/06_models/{MODEL}/training_checkpoints"


def _assert_same_weights(first, second, moment):
    assert first != second
    ours, theirs = load_file(first), load_file(second)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), f"{name} differs (killed at {moment} s)"


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_goes_on_to_the_same_weights(
    project, start, run_here, kills, caplog
):
    training = {"epochs": 4, "checkpoint": {"minutes": 0}}
    run_here(project, "training", training=training)
    uninterrupted = latest(project, DETECTOR)
    seconds = pd.read_csv(latest(project, HISTORY))["seconds"].sum()
    for _ in range(kills):
        process = start(epochs=4)
        wait_for(process, "Training")
        # sometimes in the first epoch, sometimes when it is done
        moment = random.uniform(0, 1.1 * seconds)  # noqa: S311
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        caplog.clear()
        run_here(project, "training", training=training)
        found = re.search(r"Resuming after epoch \d+", caplog.text)
        print(f"killed after {moment:.2f} of {seconds:.2f} s: {found[0] if found else 'anew'}")
        _assert_same_weights(latest(project, DETECTOR), uninterrupted, moment)
        assert not (project / STATES).exists()


def test_ctrl_c_says_in_one_line_how_to_go_on_or_begin_anew(project, start, run_here, caplog):
    process = start(epochs=5)
    wait_for(process, "Epoch 2/5")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.fullmatch(
        r"Error: training was interrupted\. It is kept up to the end of epoch \d+ in \S+\.pt: the "
        r"same command goes on from there\.\n",
        err,
    ), err
    kept = list((project / STATES).glob("[!.]*.pt"))
    assert len(kept) == 1

    # other settings
    run_here(project, "training", training={"epochs": 1})
    assert "Ignored 1 checkpoint of runs with other settings" in caplog.text
    assert "Resuming" not in caplog.text
    assert list((project / STATES).iterdir()) == kept

    # truncated
    kept[0].write_bytes(kept[0].read_bytes()[:1000])
    training = {"epochs": 5, "checkpoint": {"minutes": 0}}
    with pytest.raises(UserError, match=r"truncated.*training\.checkpoint\.resume=false"):
        run_here(project, "training", training=training)
    assert kept[0].exists()
    training["checkpoint"] = {"minutes": 0, "resume": False}
    run_here(project, "training", training=training)
    assert "Epoch 1/5" in caplog.text
    assert not kept[0].exists()
