"""Log lines as a terminal shows them."""

import logging
import textwrap

from deepfake_detection.errors import shorten_paths

WIDTH = 110  # columns


def fold_log_lines() -> None:
    """Let the handlers of conf/logging.yml fold their lines.

    Kedro takes classes of a project in that file only where an environment variable allows them.
    """
    for handler in logging.root.handlers:
        # not those of other kinds, such as files
        if type(handler) is logging.StreamHandler and (told := handler.formatter):
            handler.setFormatter(LineFormatter(told._fmt, told.datefmt))


class LineFormatter(logging.Formatter):
    """Log lines of at most `WIDTH` columns, with paths as the user would type them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        """The time, the level and the message, broken between words; a path is never broken."""
        line = shorten_paths(super().formatMessage(record))
        indent = " " * max(line.find(shorten_paths(record.message)), 0)
        return "\n".join(
            textwrap.fill(
                part, WIDTH, subsequent_indent=indent,
                break_long_words=False, break_on_hyphens=False,
            )
            for part in line.splitlines()
        )  # fmt: skip
