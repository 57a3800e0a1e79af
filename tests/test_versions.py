"""Which version of a file a run loads, whatever other runs do meanwhile."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule
from kedro.io import DatasetError, Version

from deepfake_detection.datasets.atomic import AtomicDataset
from deepfake_detection.errors import UserError, user_error_behind

JSON = {"type": "json.JSONDataset"}


def open_entry(folder, save):
    return AtomicDataset(filepath=str(folder / "a.json"), dataset=JSON, version=Version(None, save))


class RunsSideBySide(RuleBasedStateMachine):
    """Runs that start, save, load and damage files in any order, in one folder."""

    runs = Bundle("runs")

    @initialize()
    def make_folder(self):
        self.folder = Path(tempfile.mkdtemp())
        self.number, self.saved, self.damaged = 0, {}, set()

    def teardown(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule(target=runs, saves=st.booleans())
    def start(self, saves):
        self.number += 1
        save = f"2026-01-01T00.00.00.{self.number:03}Z"
        entry = open_entry(self.folder, save)
        entry.fix_version(saved_here=saves)
        latest = max(self.saved, default=None)
        return entry, save, saves, save if saves else latest

    @rule(run=runs)
    def save(self, run):
        entry, save, saves, _ = run
        if not saves:
            return
        if save in self.saved:
            with pytest.raises(DatasetError):
                entry.save({})
            return
        entry.save({"of": save})
        self.saved[save] = {"of": save}

    @rule(run=runs)
    def load(self, run):
        entry, _, _, wanted = run
        if wanted is None:
            # nothing was there when it started: what is there now, or an error
            return
        if wanted in self.saved and wanted not in self.damaged:
            assert entry.load() == self.saved[wanted]
        else:
            with pytest.raises(DatasetError):
                entry.load()

    @rule(data=st.data(), cut=st.floats(0, 0.99))
    def damage(self, data, cut):
        if whole := sorted(set(self.saved) - self.damaged):
            version = data.draw(st.sampled_from(whole))
            path = self.folder / "a.json" / version / "a.json"
            content = path.read_bytes()
            path.write_bytes(content[: int(cut * len(content))])
            self.damaged.add(version)


TestRunsSideBySide = RunsSideBySide.TestCase
TestRunsSideBySide.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


def test_versions_from_the_future_stop_a_run(tmp_path):
    open_entry(tmp_path, "2999-01-01T00.00.00.000Z").save({})
    entry = open_entry(tmp_path, "2026-01-01T00.00.00.000Z")
    with pytest.raises(UserError, match=r"2999-01-01T00\.00\.00\.000Z"):
        entry.fix_version(saved_here=True)
    # a version that was asked for is loaded all the same
    asked = Version("2999-01-01T00.00.00.000Z", "2026-01-01T00.00.00.000Z")
    entry = AtomicDataset(filepath=str(tmp_path / "a.json"), dataset=JSON, version=asked)
    entry.fix_version(saved_here=False)
    assert entry.load() == {}


def test_what_a_killed_process_left_is_removed_after_a_day(tmp_path):
    entry = open_entry(tmp_path, "2026-01-01T00.00.00.000Z")
    entry.save({})
    folder = next(tmp_path.rglob("a.json/*"))
    old, young = folder / ".a-0123456789ab.json", folder / ".a-ba9876543210.json"
    for left in (old, young):
        left.write_text("half")
    os.utime(old, (1, 1))
    entry.remove_leftovers()
    assert not old.exists()
    # another run may be writing it
    assert young.exists()
    assert entry.load() == {}


def test_a_file_of_an_earlier_project_version_is_read_without_a_checksum(tmp_path):
    entry = open_entry(tmp_path, "2026-01-01T00.00.00.000Z")
    entry.save({"a": 1})
    (checksum,) = tmp_path.rglob("*.sha256")
    checksum.unlink()
    assert entry.load() == {"a": 1}
    path = checksum.with_suffix("")
    path.write_bytes(path.read_bytes()[:3])
    with pytest.raises(DatasetError) as caught:
        entry.load()
    assert str(path) in str(user_error_behind(caught.value))
