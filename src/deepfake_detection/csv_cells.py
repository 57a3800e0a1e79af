"""Text in the cells of a CSV file, which a spreadsheet does not execute."""

import re
from typing import Any

# What a spreadsheet takes for a formula, and what pandas reads as missing
_ESCAPED = re.compile(r"[-=+@'#].*|n/?a|nan|null|none|<na>", re.IGNORECASE)
_MARK = "'"


def escape_cell(value: Any) -> Any:
    """The cell of a value; see `CsvTableDataset`."""
    if not isinstance(value, str) or (value.isprintable() and not _ESCAPED.fullmatch(value)):
        return value
    return _MARK + "".join(
        each if each.isprintable() and each != "\\" else each.encode("unicode_escape").decode()
        for each in value
    )


def unescape_cell(value: Any) -> Any:
    """The value of a cell that `escape_cell` wrote."""
    if not isinstance(value, str) or not value.startswith(_MARK):
        return value
    # other characters than those of escapes are kept as they are
    return re.sub(
        r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}|[nrt])",
        lambda found: found[0].encode("ascii").decode("unicode_escape"),
        value.removeprefix(_MARK),
    )
