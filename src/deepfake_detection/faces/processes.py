"""Work that may crash or hang, in processes of its own: one item is lost, not the run."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from deepfake_detection.errors import UserError, first_line

Item = TypeVar("Item")
# Does the work of one item, and calls its argument from time to time
Work = Callable[[Item, Callable[[], None]], None]

# Imports and a network, before the first item
_SECONDS_TO_START = 300.0


class _Worker(Generic[Item]):
    """A process, and the item that it works on."""

    def __init__(self, prepare: Callable[[], Work[Item]], patience: float) -> None:
        # a fork would copy locks that threads of this process hold
        context = multiprocessing.get_context("spawn")
        self.pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(prepare, there), daemon=True)
        self._process.start()
        there.close()
        self._patience = patience
        self.ended = False
        self._started = False
        self._deadline = time.monotonic() + _SECONDS_TO_START

    def give(self, item: Item) -> None:
        self.item = item
        self._deadline = max(self._deadline, time.monotonic() + self._patience)
        # one that has crashed meanwhile is noticed when it is looked at
        with suppress(OSError):
            self.pipe.send(item)

    def look(self, *, ready: bool) -> tuple[bool, str | None]:
        """Whether its item is done or has failed, and why it failed."""
        if not ready:
            if time.monotonic() < self._deadline:
                return False, None
            self.end()
            self._check_started(f"not ready after {_SECONDS_TO_START:g} seconds")
            return True, (
                f"no progress in {self._patience:g} seconds "
                "(face_extraction.seconds_without_progress)"
            )
        try:
            done, error = self.pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            exit_code = _name_exit(self._process.exitcode)
            self.end()
            self._check_started(exit_code)
            return True, f"the process that read it crashed ({exit_code})"
        if isinstance(error, UserError):
            raise error
        self._started = True
        self._deadline = time.monotonic() + self._patience
        return done, error

    def _check_started(self, reason: str) -> None:
        """Raise an error if no item is to blame."""
        if not self._started:
            raise UserError(
                f"a process that should extract faces could not start ({reason}). What it wrote "
                "stands above; too little memory is a usual cause (face_extraction.processes)"
            )

    def end(self) -> None:
        self.ended = True
        self.pipe.close()
        self._process.kill()
        self._process.join()


def work_in_processes(
    prepare: Callable[[], Work[Item]],
    items: Iterable[Item],
    *,
    processes: int,
    seconds_without_progress: float,
) -> Iterator[tuple[Item, str | None]]:
    """Do the work of each item; give each with None, or with the reason why it failed.

    A process that crashes, or reports no progress for `seconds_without_progress`, is replaced, and
    its item has failed. Items come as they are done.

    Args:
        prepare: Called once in each process; returns what does the work. It has to be importable.
        items: Anything that can be pickled.
        processes: That work at the same time.
        seconds_without_progress: See above.

    Raises:
        UserError: That the work of an item raised: it concerns all, as a full disk does; or if a
            process ends before its first item.
    """
    waiting = iter(items)
    workers: list[_Worker[Item]] = []
    try:
        while True:
            while len(workers) < processes and (item := next(waiting, None)) is not None:
                workers.append(_Worker(prepare, seconds_without_progress))
                workers[-1].give(item)
            if not workers:
                return
            ready = wait([worker.pipe for worker in workers], timeout=1.0)
            for worker in list(workers):
                finished, reason = worker.look(ready=worker.pipe in ready)
                if not finished:
                    continue
                item = worker.item
                if not worker.ended and (following := next(waiting, None)) is not None:
                    worker.give(following)
                else:
                    workers.remove(worker)
                    worker.end()
                yield item, reason
    finally:
        for worker in workers:
            worker.end()


def _name_exit(code: int | None) -> str:
    if code is not None and code < 0:
        with suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _serve(prepare: Callable[[], Work[Any]], pipe: Connection) -> None:
    """Do the work of each item that comes; ends with the process at the other end."""
    # Ctrl-C in the terminal is for that process
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def report_progress() -> None:
        pipe.send((False, None))

    try:
        try:
            work = prepare()
        except UserError as error:
            pipe.send((True, UserError(error.message)))
            return
        report_progress()
        while True:
            item = pipe.recv()
            try:
                work(item, report_progress)
            except UserError as error:
                pipe.send((True, UserError(error.message)))
            # whatever is wrong with one file, the others are read
            except Exception as error:
                pipe.send((True, f"{type(error).__name__}: {first_line(error)}"))
            else:
                pipe.send((True, None))
    except (EOFError, OSError):
        return
