"""Training states on disk: whole or not at all, each run's its own."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_samples import CPU

from deepfake_detection.errors import UserError
from deepfake_detection.training import checkpoints as state_module
from deepfake_detection.training.checkpoints import CheckpointSaver, TrainingCheckpoints

RUN, OTHER = "a" * 64, "b" * 64
STATE = {"trainer": {"weights": torch.arange(500.0)}, "fit": {"history": [{"epoch": 1}]}}


@pytest.fixture
def states(tmp_path: Path) -> TrainingCheckpoints:
    return TrainingCheckpoints(tmp_path / "training_checkpoints")


def _files(states: TrainingCheckpoints) -> list[str]:
    return sorted(path.name for path in states.folder.iterdir()) if states.folder.exists() else []


def test_a_state_comes_back_as_it_was(states: TrainingCheckpoints) -> None:
    states.save(RUN, STATE)
    loaded = states.load(RUN)
    assert loaded is not None
    assert torch.equal(loaded["trainer"]["weights"], STATE["trainer"]["weights"])
    assert loaded["fit"] == STATE["fit"]


def test_a_run_finds_its_own_state_and_leaves_the_others_alone(states: TrainingCheckpoints) -> None:
    states.save(OTHER, STATE)
    assert states.load(RUN) is None
    assert states.others(RUN) == [states.path(OTHER)]
    states.save(RUN, STATE)
    states.remove(RUN)
    assert states.load(RUN) is None
    assert states.load(OTHER) is not None


def test_a_finished_run_leaves_nothing_behind(states: TrainingCheckpoints) -> None:
    states.save(RUN, STATE)
    # of a save that was killed
    states.path(RUN).with_name(f".{states.path(RUN).stem}-0123").write_bytes(b"half")
    states.remove(RUN)
    assert not states.folder.exists()
    states.remove(RUN)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    states = TrainingCheckpoints(tmp_path_factory.mktemp("whole"))
    states.save(RUN, STATE)
    return states.path(RUN).read_bytes()


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_state_is_single_clear_line(
    states: TrainingCheckpoints, content: bytes, share: float
) -> None:
    states.folder.mkdir(exist_ok=True)
    states.path(RUN).write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"truncated or damaged.*resume=false") as caught:
        states.load(RUN)
    assert "\n" not in str(caught.value)
    assert str(states.path(RUN)) in str(caught.value)


def test_a_state_of_another_version_is_said(
    states: TrainingCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.save(RUN, STATE)
    monkeypatch.setattr(state_module, "_FORMAT", 2)
    with pytest.raises(UserError, match=r"another version.*resume=false"):
        states.load(RUN)


def test_a_state_with_a_pickle_in_it_is_not_run(
    states: TrainingCheckpoints, tmp_path: Path
) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    states.folder.mkdir()
    torch.save({"format": 1, "run": RUN, "state": Harm()}, states.path(RUN))
    with pytest.raises(UserError, match="damaged"):
        states.load(RUN)
    assert not (tmp_path / "harm").exists()


def test_a_full_disk_keeps_the_state_before_it(
    states: TrainingCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.save(RUN, STATE)

    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(UserError, match="disk is full"):
        states.save(RUN, {"trainer": {}, "fit": {}})
    monkeypatch.undo()
    assert _files(states) == [states.path(RUN).name]
    loaded = states.load(RUN)
    assert loaded is not None
    assert loaded["fit"] == STATE["fit"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(state_module, "perf_counter", lambda: now[0])
    return now


def test_it_is_saved_at_most_every_so_many_minutes_and_at_the_end(
    states: TrainingCheckpoints, clock: list[float]
) -> None:
    saved = []
    with CheckpointSaver(states, RUN, minutes=2, device=CPU) as saver:
        for seconds in (0, 60, 110, 125, 180, 244, 250):
            clock[0] = seconds

            def make(seconds: int = seconds) -> dict[str, Any]:
                saved.append(seconds)
                return {"at": seconds}

            saver.save_if_due(make, last=seconds == 250)
    assert saved == [0, 125, 250]
    loaded = states.load(RUN)
    assert loaded == {"at": 250}


def test_beside_a_gpu_the_state_is_a_copy_that_further_training_does_not_change(
    states: TrainingCheckpoints,
) -> None:
    weights = torch.zeros(1000)
    # any device that is no CPU: its state is written while training goes on
    with CheckpointSaver(states, RUN, minutes=0, device=torch.device("meta")) as saver:
        saver.save_if_due(lambda: {"weights": weights, "steps": [weights, 3]})
        weights += 1
        saver.finish()
    loaded = states.load(RUN)
    assert loaded is not None
    assert loaded["weights"].sum() == loaded["steps"][0].sum() == 0


def test_what_goes_wrong_beside_training_is_raised(
    states: TrainingCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    with CheckpointSaver(states, RUN, minutes=0, device=torch.device("meta")) as saver:
        saver.save_if_due(lambda: STATE)
        with pytest.raises(UserError, match="disk is full"):
            saver.save_if_due(lambda: STATE)
