"""Working ahead: the next batches are made ready while one is being used."""

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing.util import Finalize
from typing import TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    processes: int,
    window: int | None = None,
) -> Iterator[Result]:
    """Apply a function to items, some ahead of where they are used, in order.

    No more than two windows of results wait to be used, so that memory stays flat for any number of
    items, which are themselves taken only when their turn comes.

    Args:
        function: Importable, so that processes find it.
        items: Its arguments, picklable.
        processes: That share a window; with one, it is worked on in a thread of this process.
        window: Items worked on at once; as many as processes, if None.
    """
    if processes > 1:
        end_processes_with_this_one()
    coming = iter(items)
    parallel = joblib.Parallel(n_jobs=processes)
    with ThreadPoolExecutor(1) as worker:

        def start() -> Future[list[Result]] | None:
            taken = list(islice(coming, window or processes))
            if not taken:
                return None
            return worker.submit(parallel, [joblib.delayed(function)(item) for item in taken])

        ready = start()
        while ready is not None:
            results = ready.result()
            ready = start()
            yield from results


def in_lists(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists of this size, the last perhaps shorter."""
    coming = iter(items)
    while taken := list(islice(coming, size)):
        yield taken


def end_processes_with_this_one() -> None:
    """See to it that joblib's processes end when this one does, if it is another's itself.

    They are kept for what comes next, and a process of Kedro's ParallelRunner, or of the benchmark,
    would wait minutes for them to end by themselves. Workers of Dask, which compute in threads, end
    theirs themselves.
    """
    here = threading.current_thread() is threading.main_thread()
    if here and multiprocessing.parent_process() is not None:
        _finalise()


@cache
def _finalise() -> None:
    # before multiprocessing waits for children
    Finalize(None, _end_processes, exitpriority=100)


def _end_processes() -> None:
    get_reusable_executor().shutdown(kill_workers=True)
