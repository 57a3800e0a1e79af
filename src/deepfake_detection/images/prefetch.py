"""Prefetching: the next items are prepared while one is in use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    threads: int,
    window: int | None = None,
) -> Iterator[Result]:
    """Apply a function to items in threads, before their results are needed; results in order.

    Threads suffice for pictures: Pillow and NumPy release the interpreter's lock while they decode
    and resize.

    Args:
        function: Several threads call it at once.
        items: Its arguments, read only as far as needed.
        threads: Number of threads.
        window: Limit of results in work or waiting, which bounds memory; None: `threads`.
    """
    coming = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(function, item) for item in islice(coming, window or threads))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(coming, 1))
                yield result
        finally:
            # after an early stop or an error, what is not begun is not waited for
            pool.shutdown(wait=False, cancel_futures=True)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists of this size; the last may be shorter."""
    coming = iter(items)
    while taken := list(islice(coming, size)):
        yield taken
