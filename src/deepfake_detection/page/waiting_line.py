"""One picture at a time, and a line of bounded length before it."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class LineFullError(Exception):
    """There is no place in the line."""


class WaitingLine:
    """A worker thread, and the places of those whose work it does or will do.

    To be used in one event loop.

    Args:
        length: Places in all.
    """

    def __init__(self, length: int) -> None:
        self._free = length
        # one and the same thread: PyTorch keeps a pool of threads for each that calls it
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scoring")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place, kept until the end of the context.

        Raises:
            LineFullError: If all are taken.
        """
        if not self._free:
            raise LineFullError
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def work(self, function: Callable[[Item], Result], item: Item) -> Result:
        """What the function makes of an item, in the worker thread, when its turn has come."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, item)
