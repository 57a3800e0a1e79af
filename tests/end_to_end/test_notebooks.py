"""Notebooks run from start to end on a project's outputs."""

import shutil

import nbformat
import pytest
from demo_project import ROOT
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, project, monkeypatch):
    own = next((project / "data/demo/01_raw/generated_faces/fake_deepfake").iterdir())
    monkeypatch.setenv("DEEPFAKE_DETECTION_PICTURE", str(own))
    (project / "notebooks").mkdir()
    shutil.copy(notebook, project / "notebooks")
    content = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(project / "notebooks")}}
    NotebookClient(content, timeout=120, resources=resources).execute()
    outputs = [output for cell in content.cells for output in cell.get("outputs", [])]
    assert not [each for each in outputs if each.output_type == "error"]
    said = " ".join(str(each.get("text") or each.data) for each in outputs)
    assert not [word for word in ("INFO", "WARNING", "Loading data") if word in said]
    assert 'type="range"' in said
    # the user's own picture ends it
    assert str(own) in outputs[-1].data["text/plain"]
    assert "image/png" in str([each.get("data") for each in content.cells[-1].outputs])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook):
    """Outputs would be pictures in the repository."""
    cells = nbformat.read(notebook, as_version=4).cells
    assert all(not cell.get("outputs") for cell in cells)
