"""Files that appear whole or not at all, that a power cut does not take away, and their checksums.

Beside `NAME` a checked file has `NAME.sha256`, in the format of the command `sha256sum`. It is
written before the file appears, so that a file without it was made by other means.
"""

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from deepfake_detection.errors import UserError

_SECONDS_OF_A_DAY = 24 * 60 * 60

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than this system allows",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "there is no permission to write there",
    errno.EPERM: "there is no permission to write there",
    errno.ENAMETOOLONG: "the path is too long",
    errno.EIO: "the disk does not work",
}


@contextmanager
def atomic_write(path: Path, *, checked: bool = False) -> Iterator[Path]:
    """Give a temporary file to write; on success it replaces `path` and is on the disk.

    Args:
        path: Of the final file; its folder is created.
        checked: Write a checksum beside it, which `check_whole` reads.

    Yields:
        The temporary file, in the same folder and with the same suffix. It may be removed and
        created again.

    Raises:
        UserError: If the disk is full or read-only, or the path cannot be written.
    """
    # a long name and what is added to it could be too long together
    temporary = path.with_name(f".{path.stem[:40]}-{uuid4().hex[:12]}{path.suffix}")
    try:
        with naming_disk_errors(path, temporary):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch(exist_ok=False)
            yield temporary
            if checked:
                with atomic_write(_checksum_path(path)) as checksum:
                    checksum.write_text(f"{_sha256(temporary)}  {path.name}\n", encoding="utf-8")
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def naming_disk_errors(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn an error of the disk inside into a UserError that names `path`, which is written there.

    `temporary` is the file that holds what was written so far.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        _explain(error, path, temporary or path)
        raise


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove what killed processes left in a folder: its last change was more than a day ago."""
    for left in folder.glob(pattern):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < _SECONDS_OF_A_DAY:
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


def check_whole(path: Path) -> None:
    """Compare a file with its checksum; a UserError if it was cut or changed.

    A file without a checksum, as earlier versions of this project wrote it, passes.
    """
    checksum = _checksum_path(path)
    try:
        wanted = checksum.read_text(encoding="utf-8").split(maxsplit=1)
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{checksum} cannot be read ({error})") from None
    if not wanted or wanted[0] != _sha256(path):
        raise UserError(
            f"{path} was cut or changed after it was saved: it does not have the SHA-256 in "
            f"{checksum.name}. Make it again, or delete {checksum.name} if the change is wanted"
        )


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _explain(error: Exception, path: Path, temporary: Path) -> None:
    """Raise a UserError for an error of the disk; return for any other.

    Libraries raise errors of their own in place of the system's: torch's writer one that only has
    it as its context, safetensors one that names its number in the text.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        number = cause.errno if isinstance(cause, OSError) else None
        if number is None and (match := re.search(r"\(os error (\d+)\)", str(cause))):
            number = int(match[1])
        if number in _REASONS:
            raise UserError(
                f"{path} could not be written: {_REASONS[number]} ({_measure_space(temporary)}). "
                "Mend that and run the same command again: what was finished is kept"
            ) from error
        cause = cause.__cause__ or cause.__context__


def _measure_space(temporary: Path) -> str:
    written = 0
    with suppress(OSError):
        written = temporary.stat().st_size
    folder = next(each for each in (*temporary.parents, Path.cwd()) if each.is_dir())
    return f"it needs more than {written:,} bytes, and {shutil.disk_usage(folder).free:,} are free"


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk too. Windows opens no folders."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
