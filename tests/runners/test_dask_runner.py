"""Runs over real scheduler and worker processes."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cluster_nodes as nodes
import dask
import pandas as pd
import pytest
from dask_cluster import Cluster
from demo_project import MODEL, change_yaml, latest, make_project
from distributed import Event
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import CachedDataset, DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.pandas import CSVDataset

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.runners import DaskRunner
from deepfake_detection.runners.dask_runner import RunInterruptedError

RUNNER = "deepfake_detection.runners.dask_runner"
MODELS = f"data/demo/06_models/{MODEL}"
STATES = f"{MODELS}/training_checkpoints"


@pytest.fixture(autouse=True)
def _outside_of_a_project(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", None)
    caplog.set_level(logging.INFO, RUNNER)


@contextmanager
def when_said(pattern: str, then: Callable[[re.Match[str]], None]) -> Iterator[None]:
    """Do something, once, as soon as the runner says something."""

    class Listener(logging.Handler):
        heard = False

        def emit(self, record: logging.LogRecord) -> None:
            found = re.search(pattern, record.getMessage())
            if found and not self.heard:
                self.heard = True
                then(found)

    listener = Listener()
    logging.getLogger(RUNNER).addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger(RUNNER).removeHandler(listener)
    assert listener.heard


def wait_until(seen: Callable[[], bool]) -> None:
    """Wait for what only files say."""
    while not seen():
        time.sleep(0.02)


def given(**values: object) -> DataCatalog:
    return DataCatalog({name: MemoryDataset(value) for name, value in values.items()})


# ---------------------------------------------------------------- results


def test_independent_nodes_run_at_the_same_time_on_different_workers(cluster: Cluster) -> None:
    pipeline = Pipeline(
        [
            Node(nodes.meet, ["one", "two"], "first", tags="training", name="first"),
            Node(nodes.meet, ["two", "one"], "second", tags="training", name="second"),
        ]
    )
    runner = DaskRunner(cluster.address, resource="GPU")
    results = runner.run(pipeline, given(one="one", two="two"))
    assert results["first"].load() != results["second"].load()


def test_what_nodes_hand_on_stays_on_the_cluster_until_the_end(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = Pipeline(
        [
            Node(nodes.add, ["a", "b"], "sum", name="add"),
            Node(nodes.split_in_two, "sum", ["same", "listed"], name="split"),
            Node(nodes.add, ["same", "a"], "total", name="again"),
        ]
    )
    catalog = given(a=1, b=2)
    results = DaskRunner(cluster.address).run(pipeline, catalog)
    assert {name: dataset.load() for name, dataset in results.items()} == {
        "listed": [3],
        "total": 4,
    }
    assert not catalog["sum"].exists()
    assert "Completed node: again" in caplog.messages
    assert "Completed 3 out of 3 tasks" in caplog.messages
    assert re.search(r"again on tcp://127\.0\.0\.1:\d+\n", caplog.text)
    # nothing is left on the workers
    assert not any(cluster.client.has_what().values())


def test_hooks_are_called_once_where_the_node_runs(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", "hooked_project")
    notes = cluster.folder / "hook_notes"
    here = _create_hook_manager()
    here.register(nodes.NotingHooks(str(notes)))
    pipeline = Pipeline([Node(nodes.add, ["a", "a"], "sum", name="add")])
    DaskRunner(cluster.address).run(pipeline, given(a=1), here)
    calls = [line.split(" ", 1) for line in notes.read_text().splitlines()]
    assert [call for _, call in calls] == [
        "after_dataset_loaded a",
        "after_dataset_loaded a",
        "before_node_run add",
        "after_node_run add",
        "after_dataset_saved sum",
    ]
    assert {int(pid) for pid, _ in calls} <= set(cluster.client.run(os.getpid).values())


# ---------------------------------------------------------------- errors


def test_a_failed_node_comes_back_with_its_traceback_while_another_is_let_finish(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kept.csv"
    catalog = given(run="one")
    catalog["kept"] = CSVDataset(filepath=str(kept))
    pipeline = Pipeline(
        [
            Node(nodes.say_and_wait, "run", "kept", name="slow"),
            Node(nodes.fail_once_the_other_runs, "run", "nothing", name="failing"),
            Node(nodes.add, "nothing", "never", name="after"),
        ]
    )
    let_end = Event("one may end", client=cluster.client)
    with (
        when_said(
            r"failing failed \(nothing found\): nothing else .*: slow on", lambda _: let_end.set()
        ),
        pytest.raises(LookupError, match="nothing found") as caught,
    ):
        DaskRunner(cluster.address).run(pipeline, catalog)
    said = "".join(traceback.format_exception(caught.value))
    assert "fail_once_the_other_runs" in said
    assert "ValueError: invalid literal" in said
    assert re.search(r"In node 'failing' on tcp://", said)
    assert kept.exists()
    assert "after on" not in caplog.text
    assert '--from-nodes "failing"' in caplog.text


def test_what_a_user_can_mend_comes_back_as_that(cluster: Cluster) -> None:
    catalog = DataCatalog({"file": nodes.UnreadableDataset()})
    pipeline = Pipeline([Node(nodes.add, "file", "sum", name="add")])
    with pytest.raises(UserError) as caught:
        DaskRunner(cluster.address).run(pipeline, catalog)
    assert str(caught.value) == "this file is no good: make another"
    assert caught.value.exit_code == 1


def test_a_node_that_ends_its_workers_is_named_in_the_end(cluster: Cluster) -> None:
    pipeline = Pipeline([Node(nodes.end_the_worker, "a", "nothing", name="deadly")])
    with pytest.raises(UserError, match=r"node 'deadly' was given to 2 workers, and each ended"):
        DaskRunner(cluster.address).run(pipeline, given(a=1))


def test_a_scheduler_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    runner = DaskRunner("tcp://127.0.0.1:9")
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
        pytest.raises(UserError, match=r"no Dask scheduler at tcp://127\.0\.0\.1:9 .*address="),
    ):
        runner.run(Pipeline([Node(nodes.add, "a", "sum")]), given(a=1))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["nonsense://there", "127.0.0.1:x"])
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(UserError, match=re.escape(address)):
        DaskRunner(address).run(Pipeline([Node(nodes.add, "a", "sum")]), given(a=1))


def test_a_resource_that_no_worker_has_is_named(cluster: Cluster) -> None:
    pipeline = Pipeline([Node(nodes.add, "a", "sum", tags="training")])
    with pytest.raises(UserError, match=r"none of the 2 worker\(s\) .* resource 'TPU'.*TPU=1"):
        DaskRunner(cluster.address, resource="TPU").run(pipeline, given(a=1))


def test_what_cannot_travel_is_named(cluster: Cluster) -> None:
    pipeline = Pipeline([Node(nodes.add, "a", "sum", name="add")])
    catalog = DataCatalog({"a": CachedDataset(MemoryDataset(1))})
    with pytest.raises(UserError, match="'a' is a CachedDataset"):
        DaskRunner(cluster.address).run(pipeline, catalog)
    catalog = DataCatalog({"a": MemoryDataset(threading.Lock(), copy_mode="assign")})
    with pytest.raises(UserError, match="node 'add' cannot be sent"):
        DaskRunner(cluster.address).run(pipeline, catalog)


def test_without_dask_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"not installed: pip install .*\[dask\]"):
        DaskRunner("tcp://127.0.0.1:8786")


def test_runner_params_that_are_missing_or_mistyped_are_named() -> None:
    with pytest.raises(UserError, match="--runner-params address=tcp://HOST:8786"):
        DaskRunner()
    with pytest.raises(UserError, match="knows address and resource, not adress"):
        DaskRunner(adress="tcp://127.0.0.1:8786")


# ---------------------------------------------------------------- interruptions


def test_ctrl_c_ends_what_is_running_on_the_workers(cluster: Cluster, tmp_path: Path) -> None:
    note = tmp_path / "note"
    pipeline = Pipeline([Node(nodes.wait_for_ever, "note", "nothing", name="endless")])

    def interrupt_once_it_waits(_: re.Match[str]) -> None:
        assert Event("endless waits", client=cluster.client).wait(nodes.SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    with (
        when_said("endless on tcp", interrupt_once_it_waits),
        pytest.raises(RunInterruptedError) as caught,
    ):
        DaskRunner(cluster.address).run(pipeline, given(note=str(note)))
    assert str(caught.value) == "the run was interrupted. endless: it was interrupted"
    assert note.read_text() == "interrupted"
    # the worker takes the next
    pipeline = Pipeline([Node(nodes.add, ["a", "a"], "sum")])
    assert DaskRunner(cluster.address).run(pipeline, given(a=1))["sum"].load() == 2


def test_what_a_lost_worker_had_saved_is_written_anew_under_the_same_version(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    version = Version(None, "2026-01-01T00.00.00.000Z")
    catalog = given(rows=3)
    catalog["first"] = CSVDataset(filepath=str(tmp_path / "first.csv"), version=version)
    catalog["second"] = nodes.DeadlyOnceDataset(
        filepath=str(tmp_path / "second.csv"), version=version
    )
    pipeline = Pipeline(
        [
            Node(nodes.make_table_twice, "rows", ["first", "second"], name="make"),
            Node(len, "first", "length", name="count"),
        ]
    )
    results = DaskRunner(cluster.address).run(pipeline, catalog)
    assert re.search(r"tcp://\S+ was lost while it ran make: another takes it up", caplog.text)
    assert results["length"].load() == 3
    for name in ("first", "second"):
        assert [path.name for path in (tmp_path / f"{name}.csv").iterdir()] == [version.save]


# ---------------------------------------------------------------- the project

TRAINING = {"epochs": 8, "checkpoint": {"minutes": 0}}


def _run(project: Path, cluster: Cluster, *pipelines: str) -> str:
    """Run pipelines in this process; the version under which results are saved."""
    bootstrap_project(project)
    params = {"training": TRAINING}
    with KedroSession.create(project, env="demo", runtime_params=params) as session:
        runner = DaskRunner(cluster.address, resource="GPU")
        session.run(pipeline_names=pipelines, to_nodes=["train_detector"], runner=runner)
        return str(session.session_id)


def test_a_training_goes_on_after_ctrl_c_and_after_its_worker_is_killed(
    cluster: Cluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(tmp_path / "project")
    change_yaml(project / "conf/demo/catalog.yml", training_images={"sources": 5})

    def states() -> list[int]:
        return [path.stat().st_mtime_ns for path in (project / STATES).glob("*.pt")]

    def once_a_state_is_kept(then: Callable[[str], None]) -> AbstractContextManager[None]:
        before = states()

        def wait(said: re.Match[str]) -> None:
            wait_until(lambda: states() != before)
            then(said[1])

        return when_said(r"train_detector on (\S+)", wait)

    with (
        once_a_state_is_kept(lambda _: os.kill(os.getpid(), signal.SIGINT)),
        pytest.raises(
            RunInterruptedError,
            match=r"the run was interrupted\. train_detector: training was interrupted\. It is "
            r"kept up to the end of epoch \d+ in \S+: the same command goes on from there\.$",
        ),
    ):
        _run(project, cluster, "data_preparation", "training")
    assert len(states()) == 1

    caplog.clear()
    with once_a_state_is_kept(lambda worker: os.kill(cluster.process_of(worker), signal.SIGKILL)):
        version = _run(project, cluster, "training")
    found = re.search(r"worker (\S+) was lost while it ran train_detector: another", caplog.text)
    assert found
    assert f"train_detector on {found[1]}" in caplog.messages
    assert "Completed 3 out of 3 tasks" in caplog.messages
    assert "".join(cluster.logs()).count("Going on after epoch") == 2
    # by the hook, where the detector was saved
    assert not (project / STATES).exists()
    history, detector = (
        latest(project, f"{MODELS}/{name}")
        for name in ("training_history.csv", "detector.safetensors")
    )
    assert history.parent.name == detector.parent.name == version
    assert len(pd.read_csv(history)) == Detector.load(detector).card.settings["training"]["epochs"]


def test_the_command_line_knows_the_runner(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "run", "--runner", "deepfake_detection.runners.DaskRunner"],
        cwd=make_project(tmp_path / "project"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch("Error: DaskRunner needs the address of a scheduler: .*\n", done.stderr)
