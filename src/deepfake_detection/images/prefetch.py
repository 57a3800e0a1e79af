"""Working ahead: the next batches are made ready while one is being used."""

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
    """Apply a function to items in threads, some ahead of where they are used, in order.

    Threads suffice for pictures: Pillow and NumPy let go of the interpreter's lock while they
    decode and resize, and nothing has to be sent from one process to another.

    Args:
        function: May be called by several threads at once.
        items: Its arguments, taken only when their turn comes.
        threads: That work.
        window: How many results may be in work or wait to be used, so that memory stays flat for
            any number of items; as many as threads, if None.
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
            # whoever stops early, or meets an error, does not wait for what is not begun
            pool.shutdown(wait=False, cancel_futures=True)


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Items in lists of this size, the last perhaps shorter."""
    coming = iter(items)
    while taken := list(islice(coming, size)):
        yield taken
