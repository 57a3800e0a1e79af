"""List the files to score."""

import csv
import io
from pathlib import Path

from natsort import natsorted, ns

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.images.files import files_below, is_system_file


def list_files(path: Path) -> list[tuple[str, Path]]:
    """List the files that a path stands for: name in tables, and path.

    A folder: all files at any depth, in natural order, named by their path in it, without system
    files (hidden ones, Thumbs.db, desktop.ini). A text file (.txt): the paths in its lines,
    relative ones from its own folder, without empty lines and lines that begin with #; quotation
    marks around a path are removed. Any other file: this file.

    Raises:
        UserError: If there are none, or the list is not text.
    """
    if path.is_dir():
        found = [each.relative_to(path) for each in files_below(path)]
        names = [each.as_posix() for each in found if not is_system_file(each)]
        # sorted first: natural order does not tell 1.png from 01.png
        files = [(name, path / name) for name in natsorted(sorted(names), alg=ns.PATH)]
    elif path.suffix.lower() in (".txt", ".csv"):
        read = _read_lines if path.suffix.lower() == ".txt" else _read_column
        try:
            names = read(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is no list of paths ({first_line(error)})") from None
        files = [(name, _resolve(path.parent, name)) for name in names]
    else:
        files = [(path.name, path)]
    if not files:
        raise UserError(f"there are no files in {path}")
    return files


def _read_lines(text: str) -> list[str]:
    names = [_unquote(line.removesuffix("\r")) for line in text.split("\n")]
    return [name for name in names if name.strip() and name[0] != "#"]


def _read_column(text: str) -> list[str]:
    header = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=header.count))
    if "path" not in (reader.fieldnames or ()):
        raise ValueError("it has no column path")
    return [row["path"] for row in reader if (row["path"] or "").strip()]


def _resolve(folder: Path, name: str) -> Path:
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")
    return folder / name


def _unquote(line: str) -> str:
    quoted = len(line) > 1 and line[0] == line[-1] and line[0] in "\"'"
    return line[1:-1] if quoted else line
