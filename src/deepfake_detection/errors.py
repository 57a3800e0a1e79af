"""The error for what a user can correct, and how it describes mistyped names and other errors."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import click

_LISTED = 20


class UserError(click.ClickException):
    """Bad input: one line that names the file or parameter, what is wrong, and what to do.

    On the command line it ends in `Error: …` and exit code 1, without a traceback; from a notebook
    or a script it is an ordinary exception.
    """

    def __str__(self) -> str:
        return self.message

    def format_message(self) -> str:
        """The message as the command line shows it."""
        return shorten_paths(self.message)


def shorten_paths(text: str) -> str:
    """The text, with paths inside the current folder relative to it."""
    try:
        here = str(Path.cwd())
    except FileNotFoundError:
        return text
    return re.sub(rf"(?<![\w./-]){re.escape(here)}/", "", text)


def user_error_behind(error: BaseException | None) -> UserError | None:
    """The `UserError` that an exception was raised from; Kedro's catalog wraps it in others."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def first_line(error: BaseException) -> str:
    """The first line of another library's error; its type, if it says nothing."""
    return in_line((str(error).strip().splitlines() or [type(error).__name__])[0])


def in_line(text: object) -> str:
    r"""Text from outside, in a message of one line: at most 200 characters, escapes for others.

    >>> in_line("a\nb")
    'a\\nb'
    """
    start = str(text)[:200]
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in start)[:200]


def suggest(name: str, known: Iterable[str]) -> str:
    """Name what a mistyped name is close to; what there is, if it is close to nothing."""
    known = list(known)
    inside = [each for each in known if each.endswith(f".{name}")]
    ends = {each.rsplit(".", 1)[-1]: each for each in known}
    close = inside[:3] or get_close_matches(name, known)
    if close := close or [ends[each] for each in get_close_matches(name, ends)]:
        return f"did you mean {' or '.join(repr(each) for each in close)}?"
    more = ", …" if len(known) > _LISTED else ""
    return f"known here: {', '.join(known[:_LISTED])}{more}"
