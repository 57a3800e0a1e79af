"""Work that only one process may do at a time."""

import subprocess
import sys

import pytest

from deepfake_detection.errors import UserError
from deepfake_detection.file_lock import only_once

_HOLD = """
import sys
from pathlib import Path
from deepfake_detection.file_lock import only_once
with only_once(Path(sys.argv[1]), "working"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_ends_however_it_ends(tmp_path):
    path = tmp_path / "new" / "a.lock"
    command = [sys.executable, "-c", _HOLD, str(path)]
    first = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=str(path)), only_once(path, "working"):
        pass
    first.kill()
    first.communicate()
    with only_once(path, "working"):
        assert path.exists()
    assert not path.exists()


def test_where_there_can_be_no_lock_work_goes_on_with_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    done = []
    with only_once(tmp_path / "file" / "a.lock", "working"):
        done.append(True)
    assert done
    assert [record.levelname for record in caplog.records] == ["WARNING"]
