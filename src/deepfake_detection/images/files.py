"""Finding files in folders."""

from collections.abc import Iterator
from pathlib import Path, PurePath

from deepfake_detection.errors import UserError

NOT_UTF8 = "the file's name is not valid UTF-8: rename it"
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
_VIDEO_SUFFIXES = frozenset(
    {
        ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts",
        ".ogv", ".webm", ".wmv",
    }
)  # fmt: skip


def files_below(folder: Path) -> Iterator[Path]:
    """Files at any depth. Links to folders are followed, except to a folder that contains them.

    A folder that cannot be read is given like a file: whoever reads it gets the reason. A UserError
    says that `folder` itself cannot be read.
    """
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(folder, frozenset())]
    while waiting:
        here, above = waiting.pop()
        try:
            status = here.stat()
            inside = list(here.iterdir())
        except OSError as error:
            if here == folder:
                raise UserError(f"{folder} cannot be read ({error.strerror})") from None
            yield here
            continue
        known = (status.st_dev, status.st_ino)
        if known in above:
            continue
        for path in inside:
            if _is_folder(path):
                waiting.append((path, above | {known}))
            else:
                yield path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def is_system_file(path: Path) -> bool:
    """Whether a file of this relative path is hidden, Thumbs.db or desktop.ini."""
    return any(part.startswith(".") for part in path.parts) or path.name.lower() in _SYSTEM_FILES


def is_utf8(name: str) -> bool:
    """Whether a file's name can be written to a table."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_video(name: str) -> bool:
    """Whether a file's name is that of a video."""
    return PurePath(name).suffix.lower() in _VIDEO_SUFFIXES
