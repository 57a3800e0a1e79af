"""CSV tables in the catalog."""

from typing import Any, ClassVar

import pandas as pd
from kedro_datasets.pandas import CSVDataset

from deepfake_detection.csv_cells import escape_cell, unescape_cell

# Text that may look like numbers. Not in the catalog: Kedro takes any key `path` for a file
_TEXT = ("path", "other_path")


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
        return _change_text(super().load(), unescape_cell)

    def save(self, data: pd.DataFrame) -> None:
        """Write the table."""
        super().save(_change_text(data, escape_cell))


def _change_text(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    text = [str(name) for name in table if table[name].dtype in (object, "str")]
    return table.assign(**{name: table[name].map(change, na_action="ignore") for name in text})
