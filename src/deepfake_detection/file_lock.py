"""Work that only one process may do at a time."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from deepfake_detection.errors import UserError, first_line

log = logging.getLogger(__name__)


@contextmanager
def only_once(path: Path, work: str) -> Iterator[None]:
    """Hold a lock file while `work` is done; a UserError if another process holds it.

    The system releases the lock when its process ends, however it ends.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process is {work} at this moment (it holds {path}). Wait until it ends, or "
            "stop it"
        ) from None
    # a file system without locks, or a folder that is only read
    except (OSError, NotImplementedError) as error:
        log.warning(
            "%s cannot be locked (%s): don't start the same command twice", path, first_line(error)
        )
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
