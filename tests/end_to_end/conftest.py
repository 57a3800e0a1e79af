"""A whole project in a temporary folder, small enough to run in seconds."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from demo_project import make_project
from filelock import FileLock
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project


@pytest.fixture(scope="session")
def kedro():
    """Run the `kedro` command in a real process."""

    def run(project, *arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "kedro", *arguments],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env=os.environ | environment,
        )

    return run


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory, kedro):
    """The main job on generated faces, once: the project and what the command said. Read only."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # that of all test processes
        folder = folder.parent
    project, said = folder / "demo" / "project", folder / "demo.json"
    with FileLock(folder / "demo.lock"):
        if not said.exists():
            done = kedro(make_project(project), "run", "--env", "demo")
            assert done.returncode == 0, done.stdout + done.stderr
            said.write_text(json.dumps([done.stdout, done.stderr]))
    return project, subprocess.CompletedProcess("", 0, *json.loads(said.read_text()))


@pytest.fixture(scope="session")
def demo_project(demo_run):
    """The project after its main job. Read only."""
    return demo_run[0]


@pytest.fixture
def project(demo_project, tmp_path):
    """A copy of the project after its main job, to change at will."""
    return Path(shutil.copytree(demo_project, tmp_path / "project"))


@pytest.fixture
def start(project):
    """Start training in a process group of its own, as a terminal does."""
    started = []

    def run(epochs=12, **params):
        given = {"epochs": epochs, "checkpoint.minutes": 0, **params}
        text = ",".join(f"training.{name}={value}" for name, value in given.items())
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", "--env", "demo", "--pipelines", "training",
             "--params", text],
            cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def run_here():
    """Run pipelines, or the part that options of `session.run` name, in this process."""

    def run(project, *pipelines, part=None, **params):
        bootstrap_project(project)
        with KedroSession.create(
            project_path=project, env="demo", runtime_params=params
        ) as session:
            session.run(pipeline_names=list(pipelines) or None, **part or {})

    return run
