"""Work in processes that may crash, hang or fail."""

import os
import signal
import time
from functools import partial

import psutil
import pytest

from deepfake_detection.errors import UserError
from deepfake_detection.faces.processes import work_in_processes


class Work:
    """Does what the item says, and leaves a file of its name."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, item, report_progress):
        kind = item.partition("_")[0]
        if kind == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if kind == "exit":
            os._exit(3)
        if kind == "hang":
            time.sleep(60)
        if kind == "slow":
            for _ in range(6):
                time.sleep(0.25)
                report_progress()
        if kind == "fail":
            raise ValueError("no such frame")
        if kind == "full":
            raise UserError("the disk is full")
        (self.folder / item).touch()


def run(folder, items, processes=2, patience=1.0):
    return dict(
        work_in_processes(
            partial(Work, folder), items, processes=processes, seconds_without_progress=patience
        )
    )


def test_an_item_that_crashes_hangs_or_fails_is_lost_and_no_other(tmp_path):
    items = [
        "fine_1", "crash_1", "fine_2", "hang_1", "fail_1", "exit_1", "slow_1", "fine_3", "crash_2",
    ]  # fmt: skip
    before = set(psutil.Process().children(recursive=True))
    reasons = run(tmp_path, items)
    assert set(reasons) == set(items)
    lost = {item for item, reason in reasons.items() if reason}
    assert lost == {"crash_1", "crash_2", "hang_1", "fail_1", "exit_1"}
    assert "SIGSEGV" in reasons["crash_1"]
    assert "3" in reasons["exit_1"]
    assert "no such frame" in reasons["fail_1"]
    assert {path.name for path in tmp_path.iterdir()} == set(items) - lost
    left = set(psutil.Process().children(recursive=True)) - before
    assert all("resource_tracker" in " ".join(child.cmdline()) for child in left)


def test_what_concerns_all_items_ends_the_work(tmp_path):
    with pytest.raises(UserError, match="disk is full"):
        run(tmp_path, ["fine_1", "full_1", "fine_2"], processes=1)


def test_nothing_to_do_starts_no_process(tmp_path):
    assert run(tmp_path, []) == {}
