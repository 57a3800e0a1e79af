"""Log lines as a terminal shows them."""

import logging
import sys
from pathlib import Path

import pytest

from deepfake_detection.errors import UserError, shorten_paths
from deepfake_detection.terminal import WIDTH, LineFormatter, fold_log_lines


@pytest.fixture
def formatter():
    return LineFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")


def _record(message, *values):
    return logging.LogRecord("any", logging.INFO, __file__, 1, message, values, None)


def test_a_long_line_is_folded_below_its_message(formatter):
    first, *rest = formatter.format(_record("word " * 60)).splitlines()
    assert rest
    start = first.index("word")
    assert all(line.startswith(" " * start + "word") for line in rest)
    assert max(map(len, [first, *rest])) <= WIDTH
    assert " ".join(" ".join([first[start:], *rest]).split()) == " ".join(["word"] * 60)


def test_a_path_is_whole_and_from_where_the_user_stands(formatter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "long-name/" * 20 + "file.csv"
    assert formatter.format(_record("Made %s", tmp_path / name)).split()[-1] == name
    # others stay: a longer name, another root
    for other in (f"{tmp_path}-2/a", f"/mnt{tmp_path}/a"):
        assert shorten_paths(other) == other
    assert UserError(f"no {tmp_path}/a").format_message() == "no a"
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    (tmp_path / "gone").rmdir()
    assert shorten_paths(f"{tmp_path}/a") == f"{tmp_path}/a"


def test_only_handlers_of_streams_are_changed(monkeypatch, tmp_path):
    handlers = [logging.StreamHandler(sys.stdout), logging.FileHandler(tmp_path / "log")]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
    monkeypatch.setattr(logging.root, "handlers", handlers)
    fold_log_lines()
    assert [type(each.formatter) for each in handlers] == [LineFormatter, logging.Formatter]
    handlers[1].close()
