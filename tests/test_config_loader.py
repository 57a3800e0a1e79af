"""The configuration loader: checks, studies, blocks of a user's own; sessions side by side."""

import pytest
from demo_project import change_yaml, make_project
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import AbstractDataset
from kedro.runner import SequentialRunner

from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.datasets.equalised_images import EqualisedImagesDataset
from deepfake_detection.errors import UserError
from deepfake_detection.pipelines.studies import create_pipeline

ARGUMENTS = {
    "base_env": "base", "default_run_env": "local", "merge_strategy": {"parameters": "soft"},
    # that of the project: what is registered first holds for the whole process
    "custom_resolvers": {"folder": lambda model: str(model).replace("/", "__")},
}  # fmt: skip


def load(project, env="demo", **given):
    loader = StudyConfigLoader(
        str(project / "conf"), env=env, runtime_params=given or None, **ARGUMENTS
    )
    loader["parameters"]
    return loader


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with a study and a block of its user's own."""
    project = make_project(tmp_path_factory.mktemp("configured") / "project")
    change_yaml(
        project / "conf/demo/parameters_studies.yml",
        studies={"mine": "My own"}, mine={"b": {}, "a": {"training": {"epochs": 1}}},
    )  # fmt: skip
    change_yaml(project / "conf/base/parameters_own.yml", upload={"bucket": "faces", "tries": 3})
    return project


def test_who_reads_parameters_without_any_hook_gets_whole_rows(project):
    # as Kedro-Viz does
    loader = load(project)
    row = loader["parameters"]["fine_tuning"]["step"]
    assert row["training"]["schedule"]["name"] == "step"
    assert row["training"]["epochs"] == 4
    assert row["model"] == loader.own.model
    assert {study.name for study in loader.studies} >= {"comparison", "fine_tuning"}


@pytest.mark.parametrize(
    ("given", "faces"),
    [
        ({}, "detector"),
        ({"face_extraction": {"crop": {"margin": 1.5}}}, "find"),
        ({"face_extraction": {"min_score": 0.5}}, "find"),
        # no part of a recipe
        ({"face_extraction": {"processes": 1}}, "detector"),
        ({"face_extraction": {"yunet": {"file": "yunet.onnx"}}}, "detector"),
        # said outright
        ({"face_extraction": {"crop": {"size": 99}}, "inference": {"faces": "given"}}, "given"),
    ],
    ids=str,
)
def test_a_recipe_on_the_command_line_is_one_for_inference(project, given, faces):
    assert load(project, **given)["parameters"]["inference"]["faces"] == faces


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"training": {"epochs": 0}}, ["'training.epochs'"]),
        ({"training": {"epoch": 1}}, ["'training.epoch'", "'epochs'"]),
        # close to a block, and to a study
        ({"trainng": {"epochs": 1}}, ["'trainng'", "'training'"]),
        ({"fine_tunin": {}}, ["'fine_tunin'", "'fine_tuning'"]),
        # neither the project nor a file has it
        ({"batches": 1}, ["'batches'"]),
        ({"upload": {"bucke": "x"}}, ["'upload.bucke'", "'bucket'"]),
        ({"mine": {"c": {}}}, ["'mine'", "'c'"]),
    ],
)
def test_a_wrong_parameter_of_the_command_line_is_named(project, given, named):
    with pytest.raises(UserError) as caught:
        load(project, **given)
    assert all(name in str(caught.value) for name in named)
    assert "\n" not in str(caught.value)


def test_equalised_copies_take_the_place_of_the_images(project):
    alike = {"side": 64, "cut": 0.0, "quality": 90}
    plain = load(project)["catalog"]["training_images"]
    changed = load(project, data_preparation={"equalise": alike})["catalog"]["training_images"]
    assert changed["images"] == plain
    assert changed["settings"].items() >= alike.items()
    made = AbstractDataset.from_config("training_images", changed)
    assert isinstance(made, EqualisedImagesDataset)
    of_faces = load(project, data_preparation={"equalise": alike, "images": "faces"})["catalog"]
    assert of_faces["training_images"]["images"] == of_faces["face_crops"]


def test_a_block_of_a_users_own_is_kept_and_changed_by_the_command_line(project):
    assert load(project)["parameters"]["upload"] == {"bucket": "faces", "tries": 3}
    changed = load(project, upload={"tries": 5})["parameters"]["upload"]
    assert changed == {"bucket": "faces", "tries": 5}


def test_a_block_in_a_file_whose_name_is_close_to_a_known_one_is_refused(tmp_path):
    project = make_project(tmp_path / "project")
    change_yaml(project / "conf/local/parameters.yml", calibraton={"threshold": {"value": 0.6}})
    with pytest.raises(UserError, match=r"'calibraton'.*'calibration'"):
        load(project, env="local")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("model: resnet18\nmodel: vgg16\n", "model"),
        ("studies: {mine: My own}\nmine: {one: {}, one: {model: vgg16}}\n", " one"),
        ("a: [1\n", "parameters.yml"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, text, named):
    project = make_project(tmp_path / "project")
    (project / "conf/local/parameters.yml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load(project, env="local")
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_environment_is_named_with_a_close_one(project):
    with pytest.raises(UserError, match=r"'dmo'.*'demo'"):
        load(project, env="dmo")


def test_the_command_line_does_not_change_the_order_of_rows(project):
    loader = load(project, mine={"a": {"training": {"batch_size": 4}}})
    mine = {study.name: study for study in loader.studies}["mine"]
    assert list(mine.runs) == ["b", "a"]
    training = mine.runs["a"].training
    assert (training.epochs, training.batch_size) == (1, 4)


def test_a_study_is_one_box_with_few_ends(project):
    for study in load(project).studies:
        pipeline = create_pipeline(study)
        ends = {name for name in pipeline.inputs() if not name.startswith("params:")}
        kept = ("training_checkpoints", "best_so_far", "finished_runs", "finished_scores")
        of_runs = {f"{study.name}.{run}.{each}" for run in study.runs for each in kept}
        assert ends == {"training_images", f"{study.name}.finished_reports"} | of_runs
        # nothing of a single run: all of it comes together in the study
        assert all(name.count(".") == 1 for name in pipeline.outputs())
        assert {node.namespace for node in pipeline.nodes} >= {
            study.name, *(f"{study.name}.{run}" for run in study.runs)
        }  # fmt: skip


def open_session(project, env, **given):
    return KedroSession.create(project_path=project, env=env, runtime_params=given)


def trained_in(registered, study):
    return sum(node.short_name == "train" for node in registered[study].nodes)


class _Listing(SequentialRunner):
    """Runs nothing, and keeps the names of the nodes that it was given."""

    def run(self, pipeline, *_, **__):
        self.nodes = {node.name for node in pipeline.nodes}
        return {}


@pytest.fixture
def sessions(project):
    """Sessions that differ in their environments, and in the rows of a study."""
    bootstrap_project(project)
    return (
        open_session(project, "demo", mine={"seeds": [0, 1, 2]}),
        open_session(project, "demo"),
        # where the study `mine` is not known
        open_session(project, "base"),
    )


def test_contexts_read_in_turn_have_their_own_studies(
    sessions,
):
    contexts = [session.load_context() for session in sessions]
    for _ in range(2):
        for context, runs in zip(contexts, (6, 2, None), strict=True):
            parameters = context.config_loader["parameters"]
            assert ("mine" in pipelines) == ("mine" in parameters) == (runs is not None)
            if runs is not None:
                assert trained_in(pipelines, "mine") == runs
                assert len(parameters["mine"]["about"]["runs"]) == runs
                # Kedro validates them by the type hints of the registered pipelines
                assert len(context.params["mine"]["about"].runs) == runs


def test_each_run_has_the_studies_of_its_session(
    sessions,
):
    # contexts first: a run makes one of its own
    for session in sessions:
        session.load_context()
    for session, runs in zip(sessions, (6, 2, None), strict=True):
        runner = _Listing()
        if runs is None:
            with pytest.raises(ValueError, match="mine"):
                session.run(pipeline_names=["mine"], runner=runner)
        else:
            session.run(pipeline_names=["mine"], runner=runner)
            assert sum(name.endswith(".train") for name in runner.nodes) == runs


def test_reading_parameters_builds_no_pipeline(project, monkeypatch):
    bootstrap_project(project)
    monkeypatch.setattr(
        "deepfake_detection.pipeline_registry.register_pipelines", lambda: pytest.fail("built")
    )
    load(project, mine={"seeds": [7]})
