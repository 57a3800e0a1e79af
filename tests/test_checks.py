"""What is checked before a pipeline runs."""

import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pandas as pd
import pytest
import torch
from demo_project import change_yaml, make_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from deepfake_detection.checks import (
    check_devices,
    check_extras,
    check_given_paths,
    check_weights,
)
from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.errors import UserError
from deepfake_detection.pipelines import evaluation, export, inference, training


def read_parameters(**given):
    loader = StudyConfigLoader(
        str(Path(__file__).parents[1] / "conf"), env="base", base_env="base",
        merge_strategy={"parameters": "soft"}, runtime_params=given,
    )  # fmt: skip
    loader.complete()
    return loader


def test_a_missing_extra_is_named_before_anything_runs(monkeypatch):
    check_extras(export.create_pipeline())
    # to the import system, a module that is not there
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"onnxscript.*\[export\]"):
        check_extras(export.create_pipeline())
    check_extras(evaluation.create_pipeline())


def test_a_path_is_for_pipelines_that_read_one_of_its_entries(tmp_path):
    check_given_paths({"images": "."}, tmp_path, export.create_pipeline())
    with pytest.raises(UserError, match="external_images or pictures_to_check or unlabelled_image"):
        check_given_paths({"images": "."}, tmp_path, evaluation.create_pipeline())
    with pytest.raises(UserError, match=rf"images=nowhere.*{tmp_path / 'nowhere'}"):
        check_given_paths({"images": "nowhere"}, tmp_path, export.create_pipeline())


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"training": {"device": "cuda:99"}}, "cuda:99"),
        ({"training": {"device": "cpu", "devices": 9999}}, "'training.devices'"),
        ({"evaluation": {"device": "cuda:99"}}, "cuda:99"),
        ({"inference": {"device": "cuda:99"}}, "cuda:99"),
        (
            {"fine_tuning": {"training": {"device": "cuda:99"}}},
            r"fine_tuning\.baseline.*cuda:99",
        ),
    ],
)
def test_devices_that_this_machine_lacks_are_named(given, named):
    from deepfake_detection.pipelines import studies

    loader = read_parameters(**given)
    fine_tuning = {study.name: study for study in loader.studies}["fine_tuning"]
    pipeline = training.create_pipeline() + evaluation.create_pipeline()
    pipeline += inference.create_pipeline() + studies.create_pipeline(fine_tuning)
    with pytest.raises(UserError, match=named):
        check_devices(loader.own, loader.studies, pipeline)


def test_a_file_of_weights_that_does_not_fit_is_named_before_anything_runs(tmp_path):
    torch.save({"module.weight": torch.zeros(3)}, tmp_path / "w.pth")
    loader = read_parameters(training={"weights": str(tmp_path / "w.pth")})
    check_weights(loader.own, loader.studies, evaluation.create_pipeline())
    with pytest.raises(UserError, match=r"training\.weights"):
        check_weights(loader.own, loader.studies, training.create_pipeline())


def test_published_weights_are_fetched_before_anything_runs(tmp_path, monkeypatch):
    def no_network(*_, **__):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    loader = read_parameters(training={"weights": "imagenet"})
    check_weights(loader.own, loader.studies, evaluation.create_pipeline())
    with pytest.raises(UserError, match=r"inception_v3.*training\.weights=none"):
        check_weights(loader.own, loader.studies, training.create_pipeline())


@pytest.mark.parametrize("devices", [1, "all", 9999])
def test_gpus_are_counted_and_nothing_else(devices, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda._lazy_init", lambda: pytest.fail("initialises CUDA"))
    loader = read_parameters(
        training={"device": "cuda", "devices": devices}, inference={"precision": "bf16"}
    )
    pipeline = training.create_pipeline() + inference.create_pipeline()
    if devices == 9999:
        with pytest.raises(UserError, match=r"'training\.devices'.*9999.*2"):
            check_devices(loader.own, [], pipeline)
    else:
        check_devices(loader.own, [], pipeline)


# in a process of its own, since other tests initialise CUDA
_CHECK_AND_FORK = """
import multiprocessing, sys, torch
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

bootstrap_project(sys.argv[1])
session = KedroSession.create(project_path=sys.argv[1], env="demo")
catalog = session.load_context().catalog
session._hook_manager.hook.before_pipeline_run(
    run_params={}, pipeline=pipelines["__default__"] + pipelines["fine_tuning"], catalog=catalog
)
assert not torch.cuda.is_initialized()
fork = multiprocessing.get_context("fork")
child = fork.Process(target=torch.zeros, args=(1,), kwargs={"device": "cuda"})
child.start()
child.join()
assert child.exitcode == 0
"""


@pytest.mark.cuda
def test_a_forked_node_can_use_cuda_after_the_checks(tmp_path):
    project = make_project(tmp_path / "project")
    change_yaml(project / "conf/demo/parameters.yml", training={"device": "cuda"})
    subprocess.run([sys.executable, "-c", _CHECK_AND_FORK, str(project)], check=True, cwd=project)


def test_missing_images_are_named_before_weights_are_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("fetch"))
    project = make_project(tmp_path / "project")
    bootstrap_project(project)
    for pipeline_name in ("__default__", "comparison"):
        with (
            pytest.raises(UserError, match=r"data/01_raw/training_images.*--env demo"),
            KedroSession.create(project_path=project) as session,
        ):
            session.run(pipeline_names=[pipeline_name])


def test_missing_images_name_the_faces_that_are_there(tmp_path):
    project = make_project(tmp_path / "project")
    bootstrap_project(project)

    def error_of(**params):
        with (
            pytest.raises(UserError) as error,
            KedroSession.create(project_path=project, runtime_params=params) as session,
        ):
            session.run(pipeline_names=["data_preparation"])
        return str(error.value)

    assert "images=faces" not in error_of()
    index = project / "data/03_primary/faces/face_index.parquet"
    version = index / "2026-01-01T00.00.00.000Z"
    version.mkdir(parents=True)
    pd.DataFrame({"path": ["a.png"]}).to_parquet(version / index.name)
    assert "--params data_preparation.images=faces" in error_of()
    wanted = {"data_preparation": {"images": "faces"}, "face_set": "nowhere"}
    assert "--pipelines face_extraction" in error_of(**wanted)


def test_what_makes_a_missing_input_is_named(tmp_path):
    project = make_project(tmp_path / "project")
    bootstrap_project(project)
    for pipeline_name, entry, maker in (
        ("evaluation", "'detector'", "training"),
        ("training", "'image_index'", "data_preparation"),
    ):
        with (
            pytest.raises(UserError, match=rf"{entry}.*--pipelines {maker} "),
            KedroSession.create(project_path=project, env="demo") as session,
        ):
            session.run(pipeline_names=[pipeline_name])
    with (
        pytest.raises(UserError, match=r"--namespaces fine_tuning\.baseline,"),
        KedroSession.create(project_path=project, env="demo") as session,
    ):
        session.run(pipeline_names=["fine_tuning"], node_names=["fine_tuning.tabulate"])
