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

from deepfake_detection.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")

# an error in one process ends the others; the error itself is enough
warnings.filterwarnings("ignore", message=r"\d+ tasks which were still being processed")


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], *, description: str, total: int
) -> Iterator[Result]:
    """Apply `function` to each item in several processes; results in order.

    Processes instead of threads, since hashes and statistics hold the interpreter's lock for much
    of the time. `function` has to be importable, so that the processes find it. A terminal shows a
    progress bar of `total` items. The first item's `UserError` is raised.
    """
    _end_processes_with_this_one()
    workers = max(1, min(joblib.cpu_count(), total))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator")
    results = parallel(joblib.delayed(_attempt)(function, item) for item in items)
    for result in tqdm(results, desc=description, total=total, leave=False, disable=None):
        if isinstance(result, UserError):
            raise result
        yield result


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UserError:
    # an error that is raised in a process would overtake those of earlier items
    try:
        return function(item)
    except UserError as error:
        return error


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
    Finalize(None, lambda: get_reusable_executor().shutdown(kill_workers=True), exitpriority=100)
