"""Runs with another language, time zone, home and permissions, and pictures of odd names."""

import os
import shutil
import stat
import subprocess
import sys

import pandas as pd
from demo_project import MODEL, latest, make_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from safetensors.torch import load_file

from deepfake_detection.datasets.csv_table import CsvTableDataset

DETECTOR = f"data/demo/06_models/{MODEL}/detector.safetensors"
FACES = "data/demo/01_raw/generated_faces"


def test_neither_language_nor_time_zone_home_umask_nor_links_change_the_result(
    tmp_path, demo_project
):
    project = make_project(tmp_path / "project")
    elsewhere = tmp_path / "elsewhere" / "data"
    shutil.move(project / "data", elsewhere)
    (project / "data").symlink_to(elsewhere, target_is_directory=True)
    given = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "TZ": "Pacific/Kiritimati"}
    # no folder can be made in a file, not even by root
    given |= {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--env", "demo"],
        cwd=project, env=os.environ | given, umask=0o077, stdin=subprocess.DEVNULL, check=False,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stdout + done.stderr
    ours, theirs = (load_file(latest(each, DETECTOR)) for each in (project, demo_project))
    assert all((ours[name] == value).all() for name, value in theirs.items())
    report = latest(project, f"data/demo/08_reporting/{MODEL}/report.html")
    assert stat.S_IMODE(report.stat().st_mode) & 0o077 == 0
    assert "\N{MULTIPLICATION SIGN}" in report.read_text(encoding="utf-8")


ODD_NAMES = [
    "=cmd|'C calc'!A0.jpg", "a\nb.jpg", "a\r.jpg", '"quoted", and more.jpg', "NA", " .jpg",
    "\u202egpj.exe", "\u2028.jpg", "1e5.jpg", "001.jpg", "'.jpg", "\\n.jpg", "\U0001f642.jpg",
    "x" * 251 + ".jpg", "é" * 127,
]  # fmt: skip


def test_every_name_that_a_folder_may_hold_comes_back(project, run_here, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    face = next((project / FACES / "real").iterdir())
    for name in ODD_NAMES:
        shutil.copy(face, folder / name)
    run_here(project, "inference", images=str(folder))
    bootstrap_project(project)
    with KedroSession.create(project_path=project, env="demo") as session:
        catalog = session.load_context().catalog
        scores = catalog.load("scores")
    assert sorted(scores["path"]) == sorted(ODD_NAMES)
    assert scores["error"].isna().all()
    path = latest(project, "data/demo/07_model_output/inference/scores.csv")
    assert len(CsvTableDataset(filepath=str(path)).load()) == len(ODD_NAMES)
    # what a spreadsheet shows, and what it would execute
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)["path"]
    assert not cells.str.match(r"[=+\-@\t\r]").any()
