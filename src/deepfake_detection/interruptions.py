"""Work that is interrupted says how to go on."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from deepfake_detection.errors import UserError


class InterruptedWorkError(UserError):
    """Work was interrupted; the message says what is kept and how to go on."""

    # the shell's for a command that Ctrl-C ended
    exit_code = 128 + signal.SIGINT


@contextmanager
def explaining_interruptions(explain: Callable[[], str]) -> Iterator[None]:
    """Inside, Ctrl-C and the signal by which schedulers end a job say how to go on.

    Args:
        explain: Says what was interrupted, what is kept, and how to go on.

    Raises:
        InterruptedWorkError: On either.
    """
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if here else None
    try:
        yield
    except (KeyboardInterrupt, click.Abort):
        raise InterruptedWorkError(explain()) from None
    finally:
        if here:
            signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
