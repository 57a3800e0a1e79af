"""A table of files, as CSV or Parquet."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd
from natsort import natsorted, ns
from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

from deepfake_detection.errors import UserError, first_line
from deepfake_detection.images.files import is_video
from deepfake_detection.images.layouts.base import LABEL_NAMES, SUBSET_NAMES, FileRow, Layout
from deepfake_detection.images.layouts.data_set import list_files
from deepfake_detection.parameters import ImageSetParameters

_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet"})
_SEPARATORS = ",;\t|"
# The names of each column, in small letters, the first being the one that is documented
_COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "file_path", "filepath", "image", "video"),
    "label": ("label", "target", "is_fake"),
    "class": ("class", "class_name", "method"),
    "source": ("source",),
    "group": ("group",),
    "subset": ("subset", "split", "set"),
    "track": ("track",),
}


class Table(Layout):
    """A table with the columns path, label or class, and perhaps source, group, subset and track.

    A path is that of a file, or of a folder with frames of one video. A row with a track is about
    one person in a video, by the number that face_extraction gave.
    """

    name = "table"

    @classmethod
    def recognises(cls, folder: Path, image_set: ImageSetParameters) -> bool:
        """Whether one table is there, or named, that has the columns."""
        if image_set.layout_options.table is not None:
            return True
        return len(list(_fitting(folder))) == 1

    def read(self, *, videos: bool) -> list[FileRow]:
        """List all files of the folder; those that the table does not name have a reason."""
        path = self._find()
        table = _read_rows(path)
        known = self._describe(path, table)
        if not videos and any(row.track is not None for rows in known.values() for row in rows):
            raise UserError(
                f"{path} labels face tracks (column track): make their crops with "
                "kedro run --pipelines face_extraction --params face_extraction.tracks=all, and "
                "read those with data_preparation.images=faces"
            )
        found: set[str] = set()
        rows = []
        passed: Counter[str] = Counter()
        for file in list_files(self.folder, passed):
            # a folder stands for its files
            parents = map(str, PurePosixPath(file).parents)
            named = next((each for each in (file, *parents) if each in known), None)
            if named is None:
                rows.append(FileRow(file, reason=f"not in {path.name}"))
                continue
            found.add(named)
            medium = "video" if is_video(file) else None
            rows += [row._replace(path=file, medium=medium) for row in known[named]]
        self.notes.append(
            f"{path.name} names {len(known):,} files or folders, of which {len(found):,} are here; "
            "of labels, 1 means fake"
        )
        if not found:
            raise UserError(
                f"{path}: none of its paths is in {self.folder}, the first being "
                f"'{table['path'].iloc[0]}'. Paths are relative to that folder"
            )
        if missing := natsorted(known.keys() - found, alg=ns.PATH):
            self.notes.append(f"{len(missing):,} of them are missing, such as {missing[0]}")
        self.note_passed(passed)
        return self.leave_out(rows, lambda row: row.class_name)

    def _find(self) -> Path:
        given = self.options.table
        if given is not None:
            path = next((at for at in (self.folder / given, Path(given)) if at.is_file()), None)
            if path is None:
                raise UserError(
                    f"parameter 'layout_options.table': there is no {self.folder / given}"
                )
            return path
        fitting = list(_fitting(self.folder))
        if len(fitting) != 1:
            names = ", ".join(path.name for path in fitting) or "none"
            raise UserError(
                f"{self.folder} should hold one table (CSV or Parquet) with the columns path and "
                f"label or class, and holds {names}. Parameter 'layout_options.table' names one"
            )
        return fitting[0]

    def _describe(self, path: Path, table: pd.DataFrame) -> dict[str, list[FileRow]]:
        """Rows by path; none of a class that `classes` leaves out."""
        known: dict[str, list[FileRow]] = {}
        labels: dict[str, int | None] = {}
        left_out: Counter[str] = Counter()
        tracks: dict[str, set[int | None]] = {}
        for number, row in enumerate(table.to_dict("records"), 1):
            name = _relative(str(row["path"]), self.folder)
            where = f"{path}, row {number}"
            texts = {str(key): str(value).strip() for key, value in row.items()}
            track = _track(where, texts.get("track", ""))
            there = tracks.setdefault(name, set())
            if track in there or (there and None in {track, *there}):
                raise UserError(f"{where}: '{name}' stands there twice")
            there.add(track)
            described = self._describe_row(where, texts)
            rows = known.setdefault(name, [])
            if described is None:
                left_out[texts["class"]] += 1
            else:
                if labels.setdefault(described.class_name, described.label) != described.label:
                    raise UserError(
                        f"{where}: class '{described.class_name}' has both labels. Give real and "
                        "fake ones classes of their own, or leave out the column class"
                    )
                # a video's tracks share its name, whatever their classes
                source = texts.get("source") or None if track is not None else described.source
                rows.append(described._replace(track=track, source=source))
        for name, count in left_out.items():
            self.notes.append(f"Left out, since classes gives it null: {name} ({count:,} rows)")
        return known

    def _describe_row(self, where: str, row: dict[str, str]) -> FileRow | None:
        class_name = row.get("class", "")
        if class_name in self.image_set.classes and self.image_set.classes[class_name] is None:
            return None
        of_class = self.image_set.classes.get(class_name) or class_name
        said = row.get("label") or of_class
        label = LABEL_NAMES.get(said.lower())
        if label is not None and LABEL_NAMES.get(of_class.lower(), label) != label:
            raise UserError(
                f"{where}: label '{said}' contradicts class '{class_name}' ({of_class}): here, 1 "
                "means fake and 0 means real"
            )
        if label is None:
            raise UserError(
                f"{where}: '{said}' is no label: it should be real or fake, 0 (real) or 1 (fake); "
                "or a class that parameter 'classes' gives a label"
            )
        class_name = class_name or ("fake" if label else "real")
        subset = row.get("subset", "").lower()
        if subset and subset not in SUBSET_NAMES:
            raise UserError(f"{where}: '{subset}' is no subset: train, validation or test")
        source, group = row.get("source"), row.get("group")
        return FileRow(
            "", class_name, label, None, f"{class_name}/{source}" if source else None,
            group or source or None, SUBSET_NAMES.get(subset),
        )  # fmt: skip


def _track(where: str, text: str) -> int | None:
    """The number of a track; in a column with gaps, pandas and Excel may write 1.0."""
    number = text.removesuffix(".0")
    if not number:
        return None
    if not number.isdecimal():
        raise UserError(f"{where}: '{text}' is no track, which is a number from 0 on")
    return int(number)


def _fitting(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _SUFFIXES and path.is_file():
            try:
                columns = _name_columns(_columns_of(path))
            except UserError:
                continue
            if "path" in columns.values() and {"label", "class"} & set(columns.values()):
                yield path


def _name_columns(columns: list[str]) -> dict[str, str]:
    """Which of a table's columns holds what; the first name of each kind counts."""
    lower = {column.strip().lower(): column for column in reversed(columns)}
    found = {}
    for kind, names in _COLUMNS.items():
        column = next((lower[name] for name in names if name in lower), None)
        if column is not None:
            found[column] = kind
    return found


def _read_rows(path: Path) -> pd.DataFrame:
    """Rows as text, under the names of `_COLUMNS`; missing values are empty."""
    if path.suffix.lower() == ".parquet":
        try:
            table = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is not a Parquet file ({first_line(error)})") from None
        table = table.astype(object).where(table.notna(), "").astype(str)
    else:
        text = _read_csv(path)
        try:
            table = pd.read_csv(
                io.StringIO(text), sep=_separator(text), dtype=str, keep_default_na=False
            )
        except ValueError as error:
            raise UserError(f"{path} is not a table ({first_line(error)})") from None
    kinds = _name_columns([str(column) for column in table.columns])
    table = table[list(kinds)].rename(columns=kinds).fillna("")
    if "path" not in table or not {"label", "class"} & set(table.columns) or table.empty:
        raise UserError(f"{path} should have rows, and the columns path and label or class")
    return table


def _columns_of(path: Path) -> list[str]:
    if path.suffix.lower() == ".parquet":
        try:
            return list(ParquetFile(path).schema_arrow.names)
        except (OSError, ValueError):
            return []
    text = _read_csv(path, characters=10_000)
    header = text.splitlines()[:1]
    return next(csv.reader(header, delimiter=_separator(text)), [])


def _read_csv(path: Path, characters: int = -1) -> str:
    """The text of a table, by its byte-order mark; UTF-8 without one."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
        encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        with path.open(encoding=encoding) as file:
            return file.read(characters)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeError:
        raise UserError(f"{path} is not a text in UTF-8 or UTF-16") from None


def _separator(text: str) -> str:
    header = text.partition("\n")[0]
    return max(_SEPARATORS, key=header.count)


def _relative(path: str, folder: Path) -> str:
    r"""A path as `list_files` gives it, of one with `\`, a leading `./`, or the folder before."""
    plain = path.strip()
    if "\\" in plain and not (folder / plain).exists():
        plain = plain.replace("\\", "/")
    at = Path(plain)
    if at.is_absolute():
        here = folder.resolve()
        at = at if at.is_relative_to(folder) else at.parent.resolve() / at.name
        at = next((at.relative_to(up) for up in (folder, here) if at.is_relative_to(up)), at)
    return re.sub(r"^(\./)+", "", at.as_posix())
