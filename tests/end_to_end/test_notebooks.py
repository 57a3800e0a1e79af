"""Notebooks run from start to end on a project's outputs."""

import shutil

import nbformat
import pytest
from demo_project import ROOT
from nbclient import NotebookClient

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, project):
    (project / "notebooks").mkdir()
    shutil.copy(notebook, project / "notebooks")
    content = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": str(project / "notebooks")}}
    NotebookClient(content, timeout=120, resources=resources).execute()
    errors = [
        output
        for cell in content.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert errors == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(notebook):
    """Outputs would be pictures in the repository."""
    cells = nbformat.read(notebook, as_version=4).cells
    assert all(not cell.get("outputs") for cell in cells)
