"""What is checked before a pipeline runs, on its own."""

import sys
from pathlib import Path

import pytest

from deepfake_detection.checks import check_extras, check_given_paths
from deepfake_detection.errors import UserError
from deepfake_detection.pipelines import evaluation, export


def test_a_missing_extra_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    check_extras(export.create_pipeline())
    # to the import system, a module that is not there
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"export needs onnxscript, .*pip install .*\.\[export\]"):
        check_extras(export.create_pipeline())
    check_extras(evaluation.create_pipeline())


def test_a_path_is_for_pipelines_that_read_one_of_its_entries(tmp_path: Path) -> None:
    check_given_paths({"images": "."}, tmp_path, export.create_pipeline())
    with pytest.raises(
        UserError, match="external_images or pictures_to_check or unlabelled_images and"
    ):
        check_given_paths({"images": "."}, tmp_path, evaluation.create_pipeline())
    with pytest.raises(UserError, match="images=nowhere: no such path"):
        check_given_paths({"images": "nowhere"}, tmp_path, export.create_pipeline())
