"""What the runners' tests send to other processes, which import it from here."""

import os
import signal
from pathlib import Path

import pandas as pd
from distributed import Event, get_worker
from kedro_datasets.pandas import CSVDataset

from deepfake_detection.errors import UserError

SECONDS = 60


def meet(me, other):
    """Return where it runs, once the other runs too."""
    Event(me).set()
    assert Event(other).wait(SECONDS)
    return get_worker().address


def add(*values):
    return sum(values)


def split_in_two(value):
    return value, [value]


def wait_for_permission(run):
    Event(f"{run} runs").set()
    assert Event(f"{run} may end").wait(SECONDS)
    return pd.DataFrame({"run": [run]})


def fail_once_the_other_runs(run):
    assert Event(f"{run} runs").wait(SECONDS)
    try:
        int("no number")
    except ValueError as error:
        raise LookupError("nothing found") from error


def end_the_worker(_):
    os.kill(os.getpid(), signal.SIGKILL)


def make_table_twice(rows):
    table = pd.DataFrame({"row": range(rows)})
    return table, table


class DeadlyOnceDataset(CSVDataset):
    """Cannot be loaded, and ends the process that saves it, the first time."""

    def load(self):
        raise UserError("this file is no good")

    def save(self, data):
        mark = Path(f"{self._filepath}.died")
        if not mark.exists():
            mark.touch()
            end_the_worker(data)
        super().save(data)
