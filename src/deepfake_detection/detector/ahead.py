"""Working ahead: the next batches are made ready while one is being used."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], *, at_once: int
) -> Iterator[Result]:
    """Apply a function to items, some ahead of where they are used, in order.

    No more than twice `at_once` results wait to be used, so that memory stays flat for any number
    of items, which are themselves taken only when their turn comes.

    Args:
        function: Importable, so that processes find it, if `at_once` is above 1.
        items: Its arguments, picklable.
        at_once: In so many processes; 1: in a thread of this one.
    """
    coming = iter(items)
    parallel = joblib.Parallel(n_jobs=at_once)
    with ThreadPoolExecutor(1) as worker:

        def start() -> Future[list[Result]] | None:
            window = list(islice(coming, at_once))
            if not window:
                return None
            return worker.submit(parallel, [joblib.delayed(function)(item) for item in window])

        ready = start()
        while ready is not None:
            results = ready.result()
            ready = start()
            yield from results
