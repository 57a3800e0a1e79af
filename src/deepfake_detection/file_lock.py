"""Work that only one process may do at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from deepfake_detection.errors import UserError


@contextmanager
def only_once(path: Path, work: str) -> Iterator[None]:
    """Hold a lock file while `work` is done; a UserError if another process holds it.

    The system releases the lock when its process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"another process is {work} at this moment (it holds {path}). Wait until it ends, or "
            "stop it"
        ) from None
    # a file system without locks, a folder that is only read: work as if alone
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
