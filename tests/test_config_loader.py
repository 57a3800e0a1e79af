"""The configuration loader: checks first, then studies; whoever reads it."""

from pathlib import Path

import pytest
from demo_project import change_yaml, make_project

from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.errors import UserError
from deepfake_detection.pipelines.studies import create_pipeline

ARGUMENTS = {
    "base_env": "base", "default_run_env": "local", "merge_strategy": {"parameters": "soft"},
}  # fmt: skip


def load(project: Path, **given: object) -> StudyConfigLoader:
    loader = StudyConfigLoader(
        str(project / "conf"), env="demo", runtime_params=given or None, **ARGUMENTS
    )
    loader["parameters"]
    return loader


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("configured") / "project")


def test_who_reads_parameters_without_any_hook_gets_whole_rows(project: Path) -> None:
    # as Kedro-Viz does
    loader = load(project)
    row = loader["parameters"]["fine_tuning"]["step"]
    assert row["training"]["schedule"]["name"] == "step"
    assert row["training"]["epochs"] == 4
    assert row["model"] == loader.own.model
    assert {study.name for study in loader.studies} >= {"comparison", "fine_tuning"}


def test_what_is_wrong_with_the_projects_own_parameters_is_said_in_their_name(
    project: Path,
) -> None:
    with pytest.raises(UserError) as caught:
        load(project, training={"epochs": 0})
    assert str(caught.value).startswith("parameter 'training.epochs'")


def test_a_mistyped_block_is_no_study(project: Path) -> None:
    with pytest.raises(UserError, match="unknown parameter 'trainng': did you mean 'training'"):
        load(project, trainng={"epochs": 1})


def test_the_command_line_does_not_change_the_order_of_rows(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    change_yaml(
        project / "conf/demo/parameters_studies.yml",
        studies={"mine": "My own"}, mine={"b": {}, "a": {"training": {"epochs": 1}}},
    )  # fmt: skip
    loader = load(project, mine={"a": {"training": {"batch_size": 4}}})
    mine = {study.name: study for study in loader.studies}["mine"]
    assert list(mine.runs) == ["b", "a"]
    training = mine.runs["a"].training
    assert (training.epochs, training.batch_size) == (1, 4)


def test_a_study_is_single_box_with_few_ends(project: Path) -> None:
    for study in load(project).studies:
        pipeline = create_pipeline(study)
        ends = {name for name in pipeline.inputs() if not name.startswith("params:")}
        kept = {f"{study.name}.kept_trainings", f"{study.name}.kept_scores"}
        assert ends == {"training_images", *kept}
        # nothing of a single run: all of it comes together in the study
        assert all(name.count(".") == 1 for name in pipeline.outputs())
        assert {node.namespace for node in pipeline.nodes} >= {
            study.name, *(f"{study.name}.{run}" for run in study.runs)
        }  # fmt: skip
