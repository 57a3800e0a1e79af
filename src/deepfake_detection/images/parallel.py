"""Work on many images, in as many processes as there are cores."""

import multiprocessing
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from multiprocessing.util import Finalize
from typing import TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

# an error in one process ends the others; the error itself is enough
warnings.filterwarnings("ignore", message=r"\d+ tasks which were still being processed")


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], *, description: str, total: int
) -> Iterator[Result]:
    """Apply `function` to each item in several processes; results in order.

    Processes instead of threads, since hashes and statistics hold the interpreter's lock for much
    of the time. A terminal shows a progress bar.

    Args:
        function: Importable, so that the processes find it.
        items: Its arguments, picklable.
        description: Shown before the progress bar.
        total: How many items there are.
    """
    _end_processes_with_this_one()
    workers = max(1, min(joblib.cpu_count(), total))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    results = parallel(joblib.delayed(function)(item) for item in items)
    yield from tqdm(results, desc=description, total=total, leave=False, disable=None)


def _end_processes_with_this_one() -> None:
    """End joblib's processes when this process ends, if it is itself a child process.

    joblib keeps them for the next call. A process of Kedro's ParallelRunner would wait minutes for
    them at its end. Dask's workers compute in threads and end their child processes themselves.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and multiprocessing.parent_process() is not None:
        _register_end()


@cache
def _register_end() -> None:
    # runs before multiprocessing waits for children
    Finalize(None, _end_processes, exitpriority=100)


def _end_processes() -> None:
    get_reusable_executor().shutdown(kill_workers=True)
