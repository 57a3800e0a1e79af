"""The one error for what a user can mend, and how it tells of others."""

import click


class UserError(click.ClickException):
    """Bad input: one line that names the file or parameter, what is wrong, and what to do.

    On the command line it ends in `Error: …` and exit code 1, without a traceback; from a notebook
    or a script it is an ordinary exception.
    """

    def __str__(self) -> str:
        return self.message


def user_error_behind(error: BaseException | None) -> UserError | None:
    """The error of what a user can mend that another came from: the catalog wraps it in others."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line of a message; its kind where it is silent."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
