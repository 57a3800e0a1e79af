"""Disks that are full or read-only: one line that names the file, and nothing half-written."""

import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from demo_project import MODEL, latest, make_project
from detector_samples import build_detector
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError
from safetensors.torch import load_file

from deepfake_detection.atomic_write import check_whole
from deepfake_detection.datasets.atomic import AtomicDataset
from deepfake_detection.datasets.versioned_file import VersionedFileDataset
from deepfake_detection.errors import UserError, user_error_behind

TABLE = pd.DataFrame({"path": [f"real/{number}.png" for number in range(500)]})
SAMPLES = {
    "CsvTableDataset": TABLE,
    "CSVDataset": TABLE,
    "ParquetDataset": TABLE,
    "JSONDataset": {"rows": list(range(500))},
    "TextDataset": "text" * 500,
    "MatplotlibDataset": plt.figure(),
    "DetectorDataset": build_detector(),
    "OnnxDataset": b"model" * 500,
}


@contextmanager
def files_of_at_most(size):
    """Writing further raises OSError (EFBIG), as a full disk raises ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """Each versioned file of the catalog, those of two studies included, by its name."""
    project = make_project(tmp_path_factory.mktemp("catalog") / "project")
    bootstrap_project(project)
    with KedroSession.create(project_path=project, env="demo") as session:
        catalog = session.load_context().catalog
        studies = (pipelines[name].datasets() for name in ("fine_tuning", "cross_validation"))
        found = {name: catalog.get(name) for name in {*catalog}.union(*studies)}
    return {name: each for name, each in found.items() if getattr(each, "_version", None)}


def kind_of(entry):
    kind = entry._config["type"] if isinstance(entry, AtomicDataset) else type(entry).__name__
    return kind.split(".")[-1]


def test_every_versioned_file_goes_through_a_dataset_that_is_tried_below(entries):
    assert len(entries) > 100
    assert all(isinstance(entry, VersionedFileDataset) for entry in entries.values())
    assert {kind_of(entry) for entry in entries.values()} == set(SAMPLES)


@pytest.mark.parametrize("kind", SAMPLES)
def test_what_does_not_fit_on_the_disk_is_named_and_leaves_nothing(entries, kind):
    entry = next(each for each in entries.values() if kind_of(each) == kind)
    path = Path(entry._get_save_path())
    with files_of_at_most(10), pytest.raises((UserError, DatasetError)) as caught:
        entry.save(SAMPLES[kind])
    error = str(user_error_behind(caught.value))
    assert str(path) in error
    assert "\n" not in error
    assert list(path.parent.iterdir()) == []
    entry.save(SAMPLES[kind])
    assert path.stat().st_size > 10


@pytest.mark.parametrize("kind", ["CsvTableDataset", "ParquetDataset", "JSONDataset"])
def test_a_version_that_was_cut_is_not_read(entries, kind):
    entry = next(each for each in entries.values() if kind_of(each) == kind)
    if not entry.exists():
        entry.save(SAMPLES[kind])
    path = Path(entry._get_load_path())
    # a table that ends with a whole line
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[:-2]) + b"\n")
    with pytest.raises(DatasetError) as caught:
        entry.load()
    assert str(path) in str(user_error_behind(caught.value))


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("this system mounts no tmpfs")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


MOMENTS = 20


@pytest.mark.slow
def test_a_disk_that_fills_up_at_any_moment_loses_nothing(disk):
    def run(project):
        command = [sys.executable, "-m", "kedro", "run", "--env", "demo"]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    whole = make_project(disk / "whole")
    before = shutil.disk_usage(disk).used
    done = run(whole)
    assert done.returncode == 0, done.stderr
    needed = shutil.disk_usage(disk).used - before
    weights = f"data/demo/06_models/{MODEL}/detector.safetensors"
    table = f"data/demo/07_model_output/{MODEL}/metric_table.csv"
    wanted = load_file(latest(whole, weights)), latest(whole, table).read_bytes()
    shutil.rmtree(whole)
    for moment in range(MOMENTS):
        project = make_project(disk / f"project_{moment}")
        room = needed * moment // MOMENTS
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            file.write(bytes(shutil.disk_usage(disk).free - room))
        done = run(project)
        said = done.stdout + done.stderr
        print(f"{room:,} bytes free: {done.returncode}, {done.stderr.strip().splitlines()[-1:]}")
        assert done.returncode == 1
        assert "Traceback" not in said, said
        assert done.stderr.strip().splitlines()[-1].startswith("Error: ")
        for checksum in project.rglob("*.sha256"):
            if (file := checksum.with_suffix("")).exists():
                check_whole(file)
        ballast.unlink()
        done = run(project)
        assert done.returncode == 0, done.stderr
        found = load_file(latest(project, weights))
        assert all((found[name] == value).all() for name, value in wanted[0].items())
        assert latest(project, table).read_bytes() == wanted[1]
        shutil.rmtree(project)
