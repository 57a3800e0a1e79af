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
# First bytes of Matroska and WebM, Flash, ASF, MPEG programme and elementary streams, Ogg
_VIDEO_STARTS = (
    b"\x1aE\xdf\xa3", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\x01\xba", b"\0\0\x01\xb3",
    b"OggS",
)  # fmt: skip
# The first box of a QuickTime film without a brand
_MOVIE_BOXES = (b"moov", b"mdat", b"wide")
# Of pictures in the same container (ISO/IEC 23008-12, annex B; AVIF)
_PICTURE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"avif")
# A transport stream has a G at the start of each packet of this length
_TRANSPORT_PACKET = 188


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


def holds_video(path: Path) -> bool:
    """Whether a file is a video by its name or its first bytes."""
    if is_video(path.name):
        return True
    try:
        # opening a pipe would wait
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _starts_as_video(file.read(2 * _TRANSPORT_PACKET + 1))
    # an unreadable file, or a name that no file can have: whoever reads it gets the reason
    except (OSError, ValueError):
        return False


def _starts_as_video(start: bytes) -> bool:
    if start[4:8] == b"ftyp":
        return start[8:12] not in _PICTURE_BRANDS
    if start.startswith(b"RIFF"):
        return start[8:12] == b"AVI "
    return (
        start.startswith(_VIDEO_STARTS)
        or start[4:8] in _MOVIE_BOXES
        or start[::_TRANSPORT_PACKET] == b"GGG"
    )
