"""Finding files in folders."""

from collections.abc import Iterator
from pathlib import Path

_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})


def files_below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Files at any depth. Links to folders are followed, except to a folder that contains them."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for path in folder.iterdir():
        if path.is_dir():
            yield from files_below(path, above | {here})
        else:
            yield path


def is_system_file(path: Path) -> bool:
    """Whether a file of this relative path is hidden, Thumbs.db or desktop.ini."""
    return any(part.startswith(".") for part in path.parts) or path.name.lower() in _SYSTEM_FILES
