"""Files that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from deepfake_detection.atomic_write import atomic_write


def test_the_file_appears_at_the_end_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_an_error_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_the_name_and_then_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.txt"
    steps = []

    def record(handle: int) -> None:
        name = "folder" if os.path.samestat(os.fstat(handle), tmp_path.stat()) else "file"
        steps.append((name, path.exists()))

    monkeypatch.setattr(os, "fsync", record)
    with atomic_write(path) as temporary:
        temporary.write_text("content")
    assert steps == [("file", False), ("folder", True)]
