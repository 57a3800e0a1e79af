"""Paths as messages show them."""

from pathlib import Path


def short_path(path: Path | str) -> str:
    """The path from the working directory, where it is inside; else as it is."""
    path = Path(path)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
