"""Runs in MLflow: a folder as its store."""

import sys
from unittest.mock import Mock

import pandas as pd
import pytest
from click.testing import CliRunner
from demo_project import MODEL, change_yaml, latest, make_project
from kedro.framework.startup import bootstrap_project

from deepfake_detection.cli import run

SWITCH = "tracking_uri: data/mlflow\nexperiment: faces\n"
STUDY = {"one": {}, "two": {"training": {"optimizer": {"weight_decay": 0.01}}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = make_project(tmp_path_factory.mktemp("mlflow") / "project")
    (folder / "conf/local/mlflow.yml").write_text(SWITCH)
    change_yaml(
        folder / "conf/demo/parameters_studies.yml", studies={"mine": "My mine"}, mine=STUDY
    )
    return folder


def _kedro_run(project, monkeypatch, *options):
    monkeypatch.chdir(project)
    bootstrap_project(project)
    return CliRunner().invoke(run, ["--env", "demo", *options])


def _client(project):
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    client = mlflow.MlflowClient((project / "data/mlflow").as_uri())
    known = client.get_experiment_by_name("faces")
    return client, client.search_runs([known.experiment_id]) if known else []


def test_a_run_has_its_parameters_metrics_by_epoch_and_files(project, monkeypatch):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    assert _kedro_run(project, monkeypatch).exit_code == 0
    client, (made,) = _client(project)
    assert (made.info.status, made.data.params["training.epochs"]) == ("FINISHED", "2")
    history = pd.read_csv(latest(project, f"data/demo/06_models/{MODEL}/training_history.csv"))
    for name in ("train_loss", "validation_accuracy"):
        steps = client.get_metric_history(made.info.run_id, name)
        assert {each.step: each.value for each in steps} == dict(
            zip(history["epoch"], history[name], strict=True)
        )
    scores = pd.read_csv(latest(project, f"data/demo/07_model_output/{MODEL}/metric_table.csv"))
    (area,) = scores.query("metric == 'roc_auc' and subset == 'test' and level == 'image'")["value"]
    assert made.data.metrics["test/image/roc_auc"] == area
    for folder, name in (
        ("detector", "detector.safetensors"), ("figures", "roc_curve.png"),
        ("tables", "predictions.csv"), ("report", "report.html"), ("tables", "run_manifest.json"),
    ):  # fmt: skip
        assert f"{folder}/{name}" in {
            each.path for each in client.list_artifacts(made.info.run_id, folder)
        }


def test_a_study_is_a_run_with_a_child_for_each_row(project, monkeypatch):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    answer = _kedro_run(project, monkeypatch, "--pipelines", "mine")
    assert answer.exit_code == 0, answer.output
    client, runs = _client(project)
    (parent,) = (each for each in runs if each.info.run_name == "mine")
    children = {
        each.info.run_name: each
        for each in runs
        if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    }
    decays = {each.data.params["training.optimizer.weight_decay"] for each in children.values()}
    assert (len(children), decays) == (2, {"0.0", "0.01"})
    for child in children.values():
        assert len(client.get_metric_history(child.info.run_id, "train_loss")) == 2
        assert client.list_artifacts(child.info.run_id, "detector")
    assert {each.path for each in client.list_artifacts(parent.info.run_id, "report")} == {
        "report/page.html"
    }
    assert not client.list_artifacts(parent.info.run_id, "detector")


def test_a_failed_run_is_marked(project, monkeypatch):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setattr("kedro.runner.SequentialRunner.run", Mock(side_effect=ValueError))
    assert _kedro_run(project, monkeypatch, "--pipelines", "data_preparation").exit_code == 1
    _, runs = _client(project)
    assert [each.info.status for each in runs].count("FAILED") == 1


def test_switched_on_and_not_installed_is_one_line(project, monkeypatch):
    # to the import system, a module that is not there
    monkeypatch.setitem(sys.modules, "mlflow", None)
    answer = _kedro_run(project, monkeypatch, "--pipelines", "data_preparation")
    assert answer.exit_code == 1
    assert isinstance(answer.exception, SystemExit)
    assert "[mlflow]" in answer.output.splitlines()[-1]


@pytest.mark.parametrize("content", ["tracking_url: a\nexperiment: b\n", "- a\n", "a: [1\n", ""])
def test_a_wrong_file_is_one_line(project, monkeypatch, content):
    monkeypatch.setattr("deepfake_detection.mlflow_hooks.find_spec", lambda _: True)
    file = project / "conf/local/mlflow.yml"
    file.write_text(content)
    try:
        answer = _kedro_run(project, monkeypatch, "--pipelines", "data_preparation")
    finally:
        file.write_text(SWITCH)
    assert isinstance(answer.exception, SystemExit)
    assert "mlflow.yml" in answer.output.splitlines()[-1]
