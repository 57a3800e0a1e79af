"""Text from outside in Markdown: as what it is, never as markup."""

import re

from deepfake_detection.reports.words import printable

# What Markdown, HTML in it, tables or formulas give a meaning. An underscore inside
# a word has none
_MARKUP = re.compile(r"[\\`*\[\]<>#|~$&]|(?<![^\W_])_|_(?![^\W_])")
# pages that show Markdown turn bare addresses into links
_ADDRESS = re.compile(r"(?<=\w)://|(?<=www)\.|(?<=\w)@(?=\w)", re.IGNORECASE)


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def in_markdown(value: object) -> object:
    r"""Text with all that Markdown would take for markup escaped; anything else as it is.

    What stands at the start of a line, as a list's mark, is not: put words before it.

    >>> print(in_markdown("<b>fake_deepfake|*"))
    \<b\>fake_deepfake\|\*
    """
    if isinstance(value, Markdown) or not isinstance(value, str):
        return value
    escaped = _MARKUP.sub(r"\\\g<0>", printable(value))
    return _ADDRESS.sub(lambda found: f"\\{found[0]}", escaped)
