"""Files that appear whole or not at all."""

import errno
import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_detection.atomic_write import atomic_write, check_whole
from deepfake_detection.errors import UserError


def test_the_file_appears_at_the_end_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def _behind(error, cause):
    """As libraries do that put an error of their own in place of the system's."""
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: OSError(errno.ENOSPC, ""), UserError),
        (lambda: OSError(errno.EDQUOT, ""), UserError),
        (lambda: OSError(errno.EFBIG, ""), UserError),
        # as safetensors and torch say it
        (lambda: ValueError("I/O error: (os error 28)"), UserError),
        (lambda: _behind(RuntimeError("unexpected pos"), OSError(errno.EROFS, "")), UserError),
        (lambda: _behind(RuntimeError("unexpected pos"), KeyboardInterrupt()), KeyboardInterrupt),
        (lambda: _behind(RuntimeError("unexpected pos"), OSError(errno.EPIPE, "")), RuntimeError),
        (KeyboardInterrupt, KeyboardInterrupt),
        (lambda: ValueError("own"), ValueError),
    ],
)
@pytest.mark.parametrize("checked", [False, True])
def test_an_error_leaves_the_older_file_and_one_of_the_disk_names_it(
    tmp_path, make, expected, checked
):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def write():
        with atomic_write(path, checked=checked) as temporary:
            temporary.write_text("half")
            raise make()

    with pytest.raises(expected) as caught:
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    if expected is UserError:
        assert str(path) in str(caught.value)
        assert "4 bytes" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, f"file/{'y' * 300}/z.txt", "taken/z.txt"])
def test_a_path_that_cannot_be_is_named(tmp_path, name):
    (tmp_path / "taken").touch()
    with pytest.raises((UserError, OSError)) as caught, atomic_write(tmp_path / name) as temporary:
        temporary.write_text("content")
    assert name.split("/")[0] in str(caught.value)


@given(st.binary(min_size=1), st.data())
@settings(max_examples=50, deadline=None)
def test_a_checked_file_that_was_cut_or_changed_is_refused(content, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a" / "table.csv"
        with atomic_write(path, checked=True) as temporary:
            temporary.write_bytes(content)
        check_whole(path)
        with atomic_write(path, checked=True) as temporary:
            temporary.write_bytes(content + b"!")
        check_whole(path)
        place = data.draw(st.integers(0, len(content) - 1))
        changed = data.draw(st.sampled_from([content[:place], content + b"?"]))
        path.write_bytes(changed)
        with pytest.raises(UserError, match=r"table\.csv"):
            check_whole(path)
        # written by an earlier version of this project
        path.with_name("table.csv.sha256").unlink()
        check_whole(path)


def test_its_checksum_is_one_that_sha256sum_reads(tmp_path):
    with atomic_write(tmp_path / "a file.csv", checked=True) as temporary:
        temporary.write_text("content")
    command = ["sha256sum", "--check", "--strict", "a file.csv.sha256"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_content_is_on_the_disk_before_the_name_and_then_the_name(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    steps = []

    def record(handle: int):
        name = "folder" if os.path.samestat(os.fstat(handle), tmp_path.stat()) else "file"
        steps.append((name, path.exists()))

    monkeypatch.setattr(os, "fsync", record)
    with atomic_write(path) as temporary:
        temporary.write_text("content")
    assert steps == [("file", False), ("folder", True)]
