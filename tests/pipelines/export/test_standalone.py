"""A module of this package as one file: everything it uses, once each, in an order that works."""

import subprocess
import sys
from types import ModuleType

import pytest

from deepfake_detection.pipelines.export.standalone import make_standalone

FIRST = '''
"""A module."""
import json as text
from math import pi
from collections import abc

from deepfake_detection.faces.detection import Face, overlap
{imports}

# twice as much
FACTOR: float = TWICE * 1.0
UNUSED = abc


def half(value: Face) -> abc.Sequence:
    return None if value == 0 else text.dumps(half(0)) + str(value / FACTOR + OFFSET)


OFFSET = pi - pi
assert overlap

if __name__ == "__main__":
    print(half(3))
'''


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def put(name: str, content: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(content.lstrip())
        sys.modules.pop(name, None)
        return __import__(name)

    yield put
    for name in ("first_module", "other_module"):
        sys.modules.pop(name, None)


def test_it_runs_alone(write, tmp_path):
    module = write("first_module", FIRST.format(imports="TWICE = 2"))
    code = make_standalone(module)
    assert "def overlap" not in code
    assert "class Face" not in code
    assert "# twice as much\nFACTOR" in code
    (tmp_path / "alone.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-I", "alone.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "null1.5\n"


def test_two_definitions_of_one_name_are_refused(write):
    content = "from deepfake_detection.faces.detection import make_face_detector as make\n"
    module = write("first_module", f"{content}\n\ndef Face():\n    return make\n")
    with pytest.raises(ValueError, match="Face is defined in"):
        make_standalone(module)
