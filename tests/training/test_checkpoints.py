"""Checkpoints on disk: whole or not at all, one for each run."""

import copy
import errno
import io
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_samples import CPU

from deepfake_detection.errors import UserError
from deepfake_detection.training import checkpoints as state_module
from deepfake_detection.training.checkpoints import CheckpointSaver, TrainingCheckpoints

RUN, OTHER = "a" * 64, "b" * 64
STATE = {
    "trainer": {"network": {"weight": torch.arange(500.0)}, "optimizer": {}, "schedule": {}},
    "result": {
        "history": [{"epoch": 1}], "best": 1, "best_weights": {}, "not_finite": None,
        "validation_logits": torch.tensor([0.5]),
    },
    "hardware": {"device": "cpu", "processes": 1, "precision": "fp32", "threads": 1},
}  # fmt: skip


@pytest.fixture
def states(tmp_path):
    return TrainingCheckpoints(tmp_path / "training_checkpoints")


def test_a_run_finds_its_own_state_leaves_others_alone_and_nothing_of_its_own_behind(states):
    states.save(OTHER, STATE)
    assert states.load(RUN) is None
    assert states.others(RUN) == [states.path(OTHER)]
    states.save(RUN, STATE)
    loaded = states.load(RUN)
    weights = [each["trainer"]["network"]["weight"] for each in (loaded, STATE)]
    assert torch.equal(*weights)
    assert loaded["result"]["history"] == STATE["result"]["history"]
    # of a save that was killed
    states.path(RUN).with_name(f".{states.path(RUN).stem}-0123").write_bytes(b"half")
    states.remove(RUN)
    assert list(states.folder.iterdir()) == [states.path(OTHER)]
    states.remove(OTHER)
    assert not states.folder.exists()
    states.remove(RUN)


def _assert_refused_in_one_line(states):
    with pytest.raises(UserError, match=r"training\.checkpoint\.resume=false") as caught:
        states.load(RUN)
    assert "\n" not in str(caught.value)
    assert str(states.path(RUN)) in str(caught.value)


def test_a_truncated_state_is_one_clear_line(states):
    states.save(RUN, STATE)
    content = states.path(RUN).read_bytes()

    @given(share=st.floats(0, 1, exclude_max=True))
    @settings(max_examples=30)
    def check(share):
        states.path(RUN).write_bytes(content[: int(share * len(content))])
        _assert_refused_in_one_line(states)

    check()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format=1),
        lambda content: content.pop("run"),
        lambda content: content.update(state=3),
        lambda content: content["state"].pop("result"),
        lambda content: content["state"].update(trainer=[1]),
        lambda content: content["state"]["result"].pop("validation_logits"),
        lambda content: content["state"]["hardware"].pop("threads"),
    ],
)
def test_a_state_of_another_format_or_with_less_content_is_refused(states, change):
    states.save(RUN, STATE)
    content = torch.load(states.path(RUN), weights_only=True)
    change(content)
    torch.save(content, states.path(RUN))
    _assert_refused_in_one_line(states)


def test_a_state_with_a_pickle_in_it_is_not_run(states, tmp_path):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    states.folder.mkdir()
    torch.save({"format": 2, "run": RUN, "state": Harm()}, states.path(RUN))
    _assert_refused_in_one_line(states)
    assert not (tmp_path / "harm").exists()


def _fail(monkeypatch, error, after):
    """Files take some bytes and then raise an error, in torch's writer or before fsync."""

    class Failing(io.FileIO):
        left = after

        def write(self, content):
            self.left -= len(content)
            if self.left < 0:
                raise error
            return super().write(content)

    monkeypatch.setattr(Path, "open", lambda path, mode="rb": Failing(path, mode))


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("after", [0, 700, 2000])
@pytest.mark.parametrize(
    ("error", "raised"), [(FULL, UserError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_a_full_disk_or_ctrl_c_while_saving_keeps_the_state_before(
    states, monkeypatch, after, error, raised
):
    states.save(RUN, STATE)
    newer = copy.deepcopy(STATE)
    newer["result"]["best"] = 2
    _fail(monkeypatch, error, after)
    with pytest.raises(raised) as caught:
        states.save(RUN, newer)
    monkeypatch.undo()
    if raised is UserError:
        assert str(states.path(RUN)) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert list(states.folder.iterdir()) == [states.path(RUN)]
    assert states.load(RUN)["result"]["best"] == 1


def test_the_file_and_its_folder_are_on_the_disk_before_saving_ends(states, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda opened: synced.append(os.fstat(opened).st_ino))
    states.save(RUN, STATE)
    assert synced == [states.path(RUN).stat().st_ino, states.folder.stat().st_ino]


def test_it_is_saved_at_most_every_so_many_minutes_and_at_the_end(states, monkeypatch):
    saved = []
    with CheckpointSaver(states, RUN, minutes=2, device=CPU) as saver:
        for seconds in (0, 60, 110, 125, 180, 244, 250):
            monkeypatch.setattr(state_module, "perf_counter", lambda now=seconds: now)

            def make(seconds=seconds):
                saved.append(seconds)
                return STATE | {"at": seconds}

            saver.save_if_due(make, last=seconds == 250)
    assert saved == [0, 125, 250]
    assert states.load(RUN)["at"] == 250


def test_beside_a_gpu_the_state_is_a_copy_that_further_training_does_not_change(states):
    weights = torch.zeros(1000)
    # any device that is no CPU: its state is written while training goes on
    with CheckpointSaver(states, RUN, minutes=0, device=torch.device("meta")) as saver:
        saver.save_if_due(lambda: STATE | {"weights": weights, "steps": [weights, 3]})
        weights += 1
        saver.finish()
    loaded = states.load(RUN)
    assert loaded["weights"].sum() == loaded["steps"][0].sum() == 0


def test_what_goes_wrong_beside_training_is_raised(states, monkeypatch):
    _fail(monkeypatch, FULL, after=0)
    with CheckpointSaver(states, RUN, minutes=0, device=torch.device("meta")) as saver:
        saver.save_if_due(lambda: STATE)
        with pytest.raises(UserError, match=str(states.path(RUN))):
            saver.save_if_due(lambda: STATE)
