"""CSV tables in the catalog."""

import re
from typing import Any, ClassVar

import pandas as pd
from kedro_datasets.pandas import CSVDataset

# What a spreadsheet takes for a formula, and what pandas reads as missing
_ESCAPED = re.compile(r"[-=+@'#].*|n/?a|nan|null|none|<na>", re.IGNORECASE)
# Text that may look like numbers. Not in the catalog: Kedro takes any key `path` for a file
_TEXT = ("path", "other_path")
_MARK = "'"


class CsvTableDataset(CSVDataset):
    """A CSV file whose text comes back as it was, and of which a spreadsheet executes nothing.

    Text that could be taken for something else, or holds invisible characters, begins with an
    apostrophe, which spreadsheets hide, and has backslash escapes for those characters: file names
    may hold any character but `/`.
    """

    # not in the encoding of the machine's language
    DEFAULT_FS_ARGS: ClassVar[dict[str, Any]] = {
        "open_args_save": {"mode": "w", "encoding": "utf-8", "newline": ""}
    }

    def load(self) -> pd.DataFrame:
        """Read the table."""
        types = dict.fromkeys(_TEXT, str)
        if isinstance(given := self._load_args.get("dtype", {}), dict):
            self._load_args["dtype"] = types | given
        return _change_text(super().load(), _unescape)

    def save(self, data: pd.DataFrame) -> None:
        """Write the table."""
        super().save(_change_text(data, _escape))


def _change_text(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    text = [str(name) for name in table if table[name].dtype in (object, "str")]
    return table.assign(**{name: table[name].map(change, na_action="ignore") for name in text})


def _escape(value: Any) -> Any:
    if not isinstance(value, str) or (value.isprintable() and not _ESCAPED.fullmatch(value)):
        return value
    return _MARK + "".join(
        each if each.isprintable() and each != "\\" else each.encode("unicode_escape").decode()
        for each in value
    )


def _unescape(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(_MARK):
        return value
    # other characters than those of escapes are kept as they are
    return re.sub(
        r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}|[nrt])",
        lambda found: found[0].encode("ascii").decode("unicode_escape"),
        value.removeprefix(_MARK),
    )
