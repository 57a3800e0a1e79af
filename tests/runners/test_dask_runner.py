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
from contextlib import contextmanager
from pathlib import Path

import cluster_nodes as nodes
import pandas as pd
import pytest
from dask_cluster import Cluster, start_cluster
from demo_project import MODEL, change_yaml, latest, make_project
from distributed import Event
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog, MemoryDataset, Version
from kedro.pipeline import Node, Pipeline
from kedro_datasets.pandas import CSVDataset

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.interruptions import InterruptedWorkError
from deepfake_detection.runners import DaskRunner

RUNNER = "deepfake_detection.runners.dask_runner"
MODELS = f"data/demo/06_models/{MODEL}"
STATES = f"{MODELS}/training_state"
ADD = Pipeline([Node(nodes.add, ["a", "a"], "sum", name="add", tags="training")])


@pytest.fixture(autouse=True)
def _outside_of_a_project(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", None)
    caplog.set_level(logging.INFO, "deepfake_detection.runners")


@contextmanager
def when_starts(node: str, then: Callable[[str], object]) -> Iterator[None]:
    """Call a function, once and in a thread, with the worker on which a node starts."""
    threads = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found = re.search(rf"^{node} on (\S+)", record.getMessage())
            if found and not threads:
                threads.append(threading.Thread(target=then, args=[found[1]]))
                threads[0].start()

    listener = Listener()
    logging.getLogger(RUNNER).addHandler(listener)
    try:
        yield
    finally:
        logging.getLogger(RUNNER).removeHandler(listener)
    threads[0].join()


def wait_until(seen: Callable[[], bool]) -> None:
    """Wait for what nothing tells of."""
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


def test_nodes_hand_on_what_no_entry_of_the_catalog_saves(
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
    assert re.search(r"again on tcp://127\.0\.0\.1:\d+\n", caplog.text)
    # nothing is left on the workers
    assert not any(cluster.client.has_what().values())


def test_hooks_are_called_once_where_the_node_runs(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", "hooked_project")
    DaskRunner(cluster.address).run(ADD, given(a=1))
    notes = (cluster.folder / "hook_notes").read_text().splitlines()
    processes, calls = zip(*(line.split(" ", 1) for line in notes), strict=True)
    assert calls == ("before_node_run add", "after_dataset_saved sum")
    assert {int(each) for each in processes} <= set(cluster.processes().values())


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

    def let_slow_end(_: str) -> None:
        wait_until(lambda: "nothing found" in caplog.text)
        Event("one may end", client=cluster.client).set()

    with when_starts("slow", let_slow_end), pytest.raises(LookupError) as caught:
        DaskRunner(cluster.address).run(pipeline, catalog)
    said = "".join(traceback.format_exception(caught.value))
    for part in ("fail_once_the_other_runs", "ValueError", "'failing' on tcp://"):
        assert part in said
    assert kept.exists()
    assert "after on" not in caplog.text
    assert "--from-nodes" not in caplog.text or "failing" in caplog.text


def test_what_a_user_can_mend_comes_back_as_that(cluster: Cluster) -> None:
    catalog = DataCatalog({"a": nodes.UnreadableDataset()})
    with pytest.raises(UserError) as caught:
        DaskRunner(cluster.address).run(ADD, catalog)
    assert str(caught.value) == "this file is no good: make another"


def test_a_node_that_ends_its_workers_is_named_in_the_end(cluster: Cluster) -> None:
    pipeline = Pipeline([Node(nodes.end_the_worker, "a", "nothing", name="deadly")])
    with pytest.raises(UserError, match="'deadly'.* 2 workers"):
        DaskRunner(cluster.address).run(pipeline, given(a=1))


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://there", "127.0.0.1:x"])
def test_a_scheduler_that_is_not_there_is_named(
    address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=re.escape(address)):
        DaskRunner(address).run(ADD, given(a=1))
    assert capfd.readouterr() == ("", "")


def test_a_scheduler_that_is_lost_is_named(tmp_path: Path) -> None:
    pipeline = Pipeline([Node(nodes.say_and_wait, "run", "nothing", name="slow")])
    with start_cluster(tmp_path, workers=1) as cluster:
        with (
            when_starts("slow", lambda _: cluster.scheduler.kill()),
            pytest.raises(UserError, match=re.escape(cluster.address)),
        ):
            DaskRunner(cluster.address).run(pipeline, given(run="lost"))


def test_a_resource_that_no_worker_has_is_named(cluster: Cluster) -> None:
    with pytest.raises(UserError, match=r"'TPU'.*--resources TPU=1"):
        DaskRunner(cluster.address, resource="TPU").run(ADD, given(a=1))


def test_a_folder_that_a_worker_lacks_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kedro.framework.project.PACKAGE_NAME", "hooked_project")
    monkeypatch.setattr(f"{RUNNER}.find_kedro_project", lambda _: tmp_path / "elsewhere")
    with pytest.raises(UserError, match="elsewhere"):
        DaskRunner(cluster.address).run(ADD, given(a=1))


def test_what_cannot_travel_is_named() -> None:
    catalog = DataCatalog({"a": MemoryDataset(threading.Lock(), copy_mode="assign")})
    with pytest.raises(UserError, match="'add'"):
        DaskRunner("tcp://127.0.0.1:9").run(ADD, catalog)


def test_runner_params_and_packages_that_are_missing_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="--runner-params address=tcp://HOST:8786"):
        DaskRunner()
    with pytest.raises(UserError, match="adress"):
        DaskRunner(adress="tcp://127.0.0.1:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install .*\[dask\]"):
        DaskRunner("tcp://127.0.0.1:8786")


# ---------------------------------------------------------------- interruptions and lost workers


def test_ctrl_c_ends_what_is_running_on_the_workers(cluster: Cluster) -> None:
    before = cluster.processes()
    ran_on = []

    def interrupt(worker: str) -> None:
        ran_on.append(before[worker])
        assert Event("endless runs", client=cluster.client).wait(nodes.SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    pipeline = Pipeline([Node(nodes.say_and_wait, "run", "nothing", name="endless")])
    with (
        when_starts("endless", interrupt),
        pytest.raises(InterruptedWorkError, match="endless on tcp") as caught,
    ):
        DaskRunner(cluster.address).run(pipeline, given(run="endless"))
    assert caught.value.exit_code == 130
    # the worker's nanny starts its process anew
    wait_until(lambda: len(cluster.processes()) == 2)
    assert ran_on[0] not in cluster.processes().values()
    assert DaskRunner(cluster.address).run(ADD, given(a=1))["sum"].load() == 2


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
    assert caplog.text.count("make on tcp://") == 2
    assert results["length"].load() == 3
    for name in ("first", "second"):
        assert [path.name for path in (tmp_path / f"{name}.csv").iterdir()] == [version.save]


# ---------------------------------------------------------------- the project


def _run(project: Path, cluster: Cluster, *pipelines: str) -> str:
    """Run pipelines in this process; the version under which results are saved."""
    bootstrap_project(project)
    params = {"training": {"epochs": 20, "state": {"minutes": 0}}}
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

    def once_a_state_is_kept(then: Callable[[str], None]) -> Callable[[str], None]:
        before = states()

        def wait(worker: str) -> None:
            wait_until(lambda: states() != before)
            then(worker)

        return wait

    end_run = once_a_state_is_kept(lambda _: os.kill(os.getpid(), signal.SIGINT))
    with (
        when_starts("train_detector", end_run),
        pytest.raises(InterruptedWorkError, match="train_detector on tcp"),
    ):
        _run(project, cluster, "data_preparation", "training")
    assert len(states()) == 1

    wait_until(lambda: len(cluster.processes()) == 2)
    caplog.clear()
    processes = cluster.processes()
    end_worker = once_a_state_is_kept(lambda worker: os.kill(processes[worker], signal.SIGKILL))
    with when_starts("train_detector", end_worker):
        version = _run(project, cluster, "training")
    assert caplog.text.count("train_detector on tcp://") == 2
    assert "Completed 3 out of 3 tasks" in caplog.messages
    assert cluster.logs().count("Going on after epoch") == 2
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
    assert re.fullmatch("Error: .*address=.*\n", done.stderr)
