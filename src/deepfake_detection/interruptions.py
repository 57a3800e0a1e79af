"""Interrupted work says how to resume it."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from deepfake_detection.errors import UserError


class InterruptedWorkError(UserError):
    """Work was interrupted; the message says what was saved and how to resume."""

    # as shells report a command that Ctrl-C ended
    exit_code = 128 + signal.SIGINT


@contextmanager
def explaining_interruptions(explain: Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C, and the signal that ends jobs of schedulers, into an `InterruptedWorkError`.

    `explain` returns what was interrupted, what was saved, and how to resume.
    """
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if here else None
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        raise InterruptedWorkError(explain()) from None
    finally:
        if here:
            # None: the handler before was not Python's
            signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
