"""Runs over real scheduler and worker processes."""

import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import cluster_nodes as nodes
import pandas as pd
import pytest
from dask_cluster import start_cluster
from demo_project import MODEL, change_yaml, latest, make_project
from distributed import Event
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.pandas import CSVDataset

from deepfake_detection.errors import UserError
from deepfake_detection.interruptions import InterruptedWorkError
from deepfake_detection.runners import DaskRunner

RUNNER = "deepfake_detection.runners.dask_runner"
MODELS = f"data/demo/06_models/{MODEL}"
CHECKPOINTS = f"{MODELS}/training_checkpoints"
ADD = Pipeline([Node(nodes.add, ["a", "a"], "sum", name="add", tags="training")])


@pytest.fixture(scope="module")
def started_cluster(tmp_path_factory):
    with start_cluster(tmp_path_factory.mktemp("cluster"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def cluster(started_cluster):
    """The cluster with both workers: a test before may have ended one, which Dask starts again."""
    started_cluster.client.wait_for_workers(2, timeout=60)
    return started_cluster


@pytest.fixture(autouse=True)
def _outside_of_a_project(monkeypatch, caplog):
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", None)
    caplog.set_level(logging.INFO, RUNNER)


@pytest.fixture
def when_starts(caplog):
    """Calls a function, in a thread, with the worker on which a node starts."""

    def start(node, then):
        def watch():
            while not (found := re.search(rf"{node} on (tcp\S+)", caplog.text)):
                time.sleep(0.02)
            then(found[1])

        threading.Thread(target=watch, daemon=True).start()

    return start


def wait_until(seen):
    """Wait for what nothing tells of."""
    while not seen():
        time.sleep(0.02)


def given(**values):
    return DataCatalog({name: MemoryDataset(value) for name, value in values.items()})


def test_independent_nodes_run_at_the_same_time_on_different_workers(cluster):
    orders = {"first": ["one", "two"], "second": ["two", "one"]}
    pipeline = Pipeline([Node(nodes.meet, of, out, tags="training") for out, of in orders.items()])
    runner = DaskRunner(cluster.address, resource="GPU")
    results = runner.run(pipeline, given(one="one", two="two"))
    assert results["first"].load() != results["second"].load()


def test_nodes_hand_on_what_no_entry_of_the_catalog_saves(cluster):
    split = Node(nodes.split_in_two, "sum", ["same", "listed"])
    pipeline = Pipeline([*ADD.nodes, split, Node(nodes.add, ["same", "a"], "total")])
    catalog = given(a=1)
    results = DaskRunner(cluster.address).run(pipeline, catalog)
    assert [results[name].load() for name in ("listed", "total")] == [[2], 3]
    assert not catalog["sum"].exists()
    # nothing is left on the workers
    wait_until(lambda: not any(cluster.client.has_what().values()))


def test_a_version_that_is_given_is_loaded(cluster, tmp_path):
    table = tmp_path / "table.csv"
    for rows, version in enumerate(("1", "2"), start=1):
        CSVDataset(filepath=str(table), version=Version(None, version)).save(
            pd.DataFrame({"row": range(rows)})
        )
    pipeline = Pipeline([Node(len, "table", "rows")])
    for load, rows in (("1", 1), (None, 2)):
        versioned = CSVDataset(filepath=str(table), version=Version(load, "3"))
        results = DaskRunner(cluster.address).run(pipeline, DataCatalog({"table": versioned}))
        assert results["rows"].load() == rows


def test_a_failed_node_comes_back_with_its_traceback_while_another_is_let_finish(
    cluster, tmp_path, caplog, when_starts
):
    catalog = given(run="one")
    catalog["kept"] = CSVDataset(filepath=str(tmp_path / "kept.csv"))
    slow = Node(nodes.wait_for_permission, "run", "kept", name="slow")
    failing = Node(nodes.fail_once_the_other_runs, "run", "nothing", name="failing")
    pipeline = Pipeline([slow, failing, Node(nodes.add, "nothing", "never", name="after")])

    def let_slow_end(_):
        wait_until(lambda: "failing failed" in caplog.text)
        Event("one may end", client=cluster.client).set()

    when_starts("slow", let_slow_end)
    with pytest.raises(LookupError) as caught:
        DaskRunner(cluster.address).run(pipeline, catalog)
    said = "".join(traceback.format_exception(caught.value))
    for part in ("fail_once_the_other_runs", "ValueError", "'failing' on tcp://"):
        assert part in said
    assert catalog["kept"].exists()
    assert "after on" not in caplog.text


@pytest.mark.parametrize(
    ("function", "of", "resource", "named"),
    [
        (nodes.end_the_worker, "a", None, r"'node'.* 2 workers"),
        (nodes.add, "a", "TPU", r"'TPU'.*--resources TPU=1"),
        (nodes.add, "file", None, "^this file is no good$"),
    ],
)
def test_what_a_user_can_mend_is_named(function, of, resource, named, cluster):
    catalog = given(a=1)
    catalog["file"] = nodes.DeadlyOnceDataset(filepath="none.csv")
    pipeline = Pipeline([Node(function, of, "out", name="node", tags="training")])
    with pytest.raises(UserError, match=named):
        DaskRunner(cluster.address, resource=resource).run(pipeline, catalog)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://there", "127.0.0.1:x"])
def test_a_scheduler_that_is_not_there_is_named(address, capfd):
    with pytest.raises(UserError, match=re.escape(address)):
        DaskRunner(address).run(ADD, given(a=1))
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_a_worker_lacks_is_named(cluster, monkeypatch):
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", "any")
    monkeypatch.setattr(f"{RUNNER}.find_kedro_project", lambda _: Path("/elsewhere"))
    with pytest.raises(UserError, match=r"/elsewhere .*tcp://"):
        DaskRunner(cluster.address).run(ADD, given(a=1))


def test_what_cannot_travel_and_wrong_runner_params_are_named(monkeypatch):
    catalog = DataCatalog({"a": MemoryDataset(threading.Lock(), copy_mode="assign")})
    with pytest.raises(UserError, match="'add'"):
        DaskRunner("tcp://127.0.0.1:9").run(ADD, catalog)
    with pytest.raises(UserError, match="--runner-params address=tcp://HOST:8786"):
        DaskRunner()
    with pytest.raises(UserError, match="adress"):
        DaskRunner(adress="tcp://127.0.0.1:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install .*\[dask\]"):
        DaskRunner("tcp://127.0.0.1:8786")


def test_what_a_lost_worker_had_saved_is_written_anew_under_the_same_version(cluster, tmp_path):
    version = Version(None, "2026-01-01T00.00.00.000Z")
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    catalog = given(rows=3)
    catalog["first"] = CSVDataset(filepath=str(first), version=version)
    catalog["second"] = nodes.DeadlyOnceDataset(filepath=str(second), version=version)
    make = Node(nodes.make_table_twice, "rows", ["first", "second"], name="make")
    pipeline = Pipeline([make, Node(len, "first", "length")])
    results = DaskRunner(cluster.address).run(pipeline, catalog)
    # the first worker may end before it tells of the node
    assert Path(f"{second}.died").exists()
    assert results["length"].load() == 3
    assert [path.name for path in [*first.iterdir(), *second.iterdir()]] == [version.save] * 2


def test_a_training_goes_on_after_ctrl_c_and_after_its_worker_is_killed(
    cluster, tmp_path, caplog, when_starts
):
    project = make_project(tmp_path / "project")
    change_yaml(project / "conf/demo/catalog.yml", training_images={"sources": 5})
    bootstrap_project(project)
    params = {"training": {"epochs": 20, "checkpoint": {"minutes": 0}}}
    ended = []

    def checkpoints():
        return [path.stat().st_mtime_ns for path in (project / CHECKPOINTS).glob("[!.]*.pt")]

    def run_and_end_once_a_checkpoint_is_saved(signal_worker, *pipelines):
        before, processes = checkpoints(), cluster.processes()

        def wait_and_end(worker):
            wait_until(lambda: checkpoints() != before)
            ended.append(processes[worker])
            if signal_worker:
                os.kill(processes[worker], signal.SIGKILL)
            else:
                os.kill(os.getpid(), signal.SIGINT)

        when_starts("train_detector", wait_and_end)
        with KedroSession.create(project, env="demo", runtime_params=params) as session:
            runner = DaskRunner(cluster.address, resource="GPU")
            last = ["training.train_detector"]
            session.run(pipeline_names=pipelines, to_nodes=last, runner=runner)
            return str(session.session_id)

    with pytest.raises(InterruptedWorkError, match="train_detector on tcp") as caught:
        run_and_end_once_a_checkpoint_is_saved(False, "data_preparation", "training")
    assert caught.value.exit_code == 130
    assert len(checkpoints()) == 1
    # the worker is ended, and starts anew
    wait_until(lambda: len(set(cluster.processes().values()) - set(ended)) == 2)

    caplog.clear()
    version = run_and_end_once_a_checkpoint_is_saved(True, "training")
    assert caplog.text.count("train_detector on tcp://") == 2
    logs = "".join(path.read_text() for path in cluster.folder.glob("*.log"))
    assert logs.count("Resuming after epoch") == 2
    # by the hook, where the detector was saved
    assert not (project / CHECKPOINTS).exists()
    history = latest(project, f"{MODELS}/training_history.csv")
    assert history.parent.name == version
    assert len(pd.read_csv(history)) == 20


def test_a_scheduler_that_is_lost_is_named(cluster, when_starts):
    """The last test, since no other can follow on this cluster."""
    pipeline = Pipeline([Node(nodes.wait_for_permission, "run", "nothing", name="slow")])
    when_starts("slow", lambda _: cluster.scheduler.kill())
    with pytest.raises(UserError, match=re.escape(cluster.address)):
        DaskRunner(cluster.address).run(pipeline, given(run="lost"))
