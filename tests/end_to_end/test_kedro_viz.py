"""What Kedro-Viz shows of the pipelines."""

import json
from collections import Counter

import pytest
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

PARTS = {"data_preparation", "training", "evaluation", "robustness", "reporting"}


@pytest.fixture(scope="module")
def shown(demo_project, kedro):
    """What the static page of the demo gets: by pipeline."""
    pytest.importorskip("kedro_viz", reason="needs the extra viz")
    done = kedro(demo_project, "viz", "build", "--include-previews", KEDRO_ENV="demo")
    assert done.returncode == 0, done.stderr
    # neither of what was not made yet, nor of anything else
    assert "arning" not in done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    api = demo_project / "build" / "api"
    return {path.name: json.loads(path.read_text()) for path in (api / "pipelines").iterdir()}


def test_the_main_job_is_five_boxes_between_entries(shown):
    tree = shown["__default__"]["modular_pipelines"]
    assert tree.keys() - {"__root__"} == PARTS
    assert {each["id"] for each in tree["__root__"]["children"] if each["id"] in tree} == PARTS
    kinds = Counter(each["type"] for each in tree["__root__"]["children"])
    assert kinds["task"] == 0
    names = {each["name"] for each in shown["__default__"]["nodes"] if each["type"] == "data"}
    assert {"training_images", "split", "detector", "predictions", "report"} <= names


def test_layers_are_in_order_in_every_pipeline(shown):
    for name, each in shown.items():
        there = {node.get("layer") for node in each["nodes"]}
        layers = [layer for layer in each["layers"] if layer in there]
        assert layers, name
        assert layers == sorted(layers), name


def test_pipelines_that_share_nodes_can_be_run_as_one(demo_project):
    bootstrap_project(demo_project)
    for names in (
        (
            "__default__",
            "leakage_audit",
            "shortcut_audit",
            "explanation",
            "calibration",
            "training_samples",
        ),
        ("data_preparation", "training_samples", "fine_tuning", "comparison"),
    ):
        # an entry of two nodes would be an error
        whole = sum((pipelines[name] for name in names), Pipeline([]))
        assert len({node.name for node in whole.nodes}) == len(whole.nodes)
    assert {node.namespace for node in pipelines["__default__"].nodes} == PARTS
    assert not any("." in name for name in pipelines["__default__"].datasets())
