"""Recipes: what they change, what stands over them, and for which backbones they are."""

from copy import deepcopy

import pytest
import yaml
from demo_project import ROOT, change_yaml, make_project
from hypothesis import given
from hypothesis import strategies as st
from kedro.framework.startup import bootstrap_project
from test_config_loader import ARGUMENTS, open_session

from deepfake_detection.config_loader import StudyConfigLoader
from deepfake_detection.errors import UserError
from deepfake_detection.parameters.recipes import check_fit, list_overridden

RECIPES = {
    "mine": {
        "training": {"epochs": 7, "optimizer": {"lr": 0.5, "weight_decay": 0.25}},
        "inference": {"flip": True},
    },
    "for_vit": {"for": ["transformer"], "training": {"epochs": 3}},
}
SHIPPED = yaml.safe_load((ROOT / "conf/base/parameters_recipes.yml").read_text())["recipes"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with recipes and studies of its user's own."""
    project = make_project(tmp_path_factory.mktemp("recipes") / "project")
    for env in ("demo", "local"):
        change_yaml(project / f"conf/{env}/parameters_own.yml", recipes=deepcopy(RECIPES))
    change_yaml(
        project / "conf/demo/parameters_studies.yml",
        studies={"rows": "Recipes as rows"},
        rows={
            "training": {"batch_size": 11, "optimizer": {"lr": 0.125}},
            "inherited": {},
            "plain": {"recipe": "reference"},
            "named": {"recipe": "mine", "training": {"optimizer": {"weight_decay": 0.75}}},
            "unfit": {"recipe": "for_vit"},
        },
    )
    return project


def load(project, env="demo", **given):
    loader = StudyConfigLoader(
        str(project / "conf"), env=env, runtime_params=given or None, **ARGUMENTS
    )
    loader["parameters"]
    return loader


def problem_of(project, **given):
    with pytest.raises(UserError) as caught:
        load(project, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_recipe_stands_over_the_base_files_and_below_the_environment_and_the_command_line(
    project, caplog
):
    caplog.set_level("INFO")
    own = load(project, recipe="mine", training={"optimizer": {"weight_decay": 0.0}}).own
    # conf/demo has epochs and lr, the command line weight_decay
    optimizer = own.training.optimizer
    assert (own.training.epochs, optimizer.lr, optimizer.weight_decay) == (2, 0.003, 0.0)
    assert own.inference.flip is True
    for said in ("mine", "training.epochs 2 (7)", "optimizer.lr 0.003 (0.5)", "weight_decay 0.0 ("):
        assert said in caplog.text
    assert "inference.flip" not in caplog.text
    # conf/local has none of these
    own = load(project, "local", recipe="mine").own
    optimizer = own.training.optimizer
    assert (own.training.epochs, optimizer.lr, optimizer.weight_decay) == (7, 0.5, 0.25)


def test_an_environment_that_repeats_a_value_of_the_base_files_stands_over_a_recipe(tmp_path):
    project = make_project(tmp_path / "project")
    change_yaml(
        project / "conf/local/parameters.yml",
        recipe="mine", recipes=deepcopy(RECIPES), training={"epochs": 20},
    )  # fmt: skip
    training = load(project, None).own.training
    assert (training.epochs, training.optimizer.lr) == (20, 0.5)


def test_without_a_recipe_all_parameters_are_what_the_files_say(project, caplog):
    caplog.set_level("INFO")
    loader = load(project)
    assert loader.own.recipe == "reference"
    assert loader["parameters"]["training"] == loader._read({})["training"]
    assert "ecipe" not in caplog.text
    assert load(project, "base").own.training.epochs == 20
    with_recipe = load(project, "base", recipes=RECIPES, recipe="mine").own
    assert with_recipe.training.epochs == 7


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"recipe": "mime"}, ["'mime'", "'mine'"]),
        ({"recipe": 3}, ["'3'"]),
        ({"recipes": 3}, ["'recipes'"]),
        ({"recipe": "for_vit"}, ["'for_vit'", "transformer", "shufflenet"]),
        ({"recipes": {"mine": {"trainin": {}}}}, ["recipes.mine.trainin", "'training'"]),
        ({"recipes": {"mine": {"model": "vgg16"}}}, ["recipes.mine.model"]),
        ({"recipes": {"mine": {"for": 3}}}, ["recipes.mine.for"]),
        ({"recipes": {"mine": {"training": {"epoch": 1}}}}, ["'mine'", "'training.epoch'"]),
        ({"recipes": {"mine": {"training": {"epochs": 0}}}}, ["'mine'", "'training.epochs'"]),
        ({"recipes": {"mine": {"training": 3}}}, ["'mine'", "'training'"]),
        # not of the recipe
        ({"recipe": "mine", "training": {"epochs": -1}}, ["'training.epochs'", "-1"]),
        ({"rows": {"named": {"recipe": "mnie"}}}, ["rows.named", "'mnie'", "'mine'"]),
        (
            {"recipes": {"mine": {"data_preparation": {"max_pixels": 9}}}},
            ["rows.named", "'mine'", "data_preparation"],
        ),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_recipe_is_named(project, given, named):
    said = problem_of(project, **given)
    assert all(each in said for each in named), said


def test_a_row_has_its_recipe_below_its_own_settings_and_over_the_study_s(project):
    rows = {study.name: study for study in load(project, recipe="mine").studies}["rows"].runs

    def settings(row):
        training = rows[row].training
        optimizer = training.optimizer
        return training.epochs, training.batch_size, optimizer.lr, optimizer.weight_decay

    # the project's recipe, below conf/demo's epochs and the study's learning rate
    assert settings("inherited") == (2, 11, 0.125, 0.25)
    # in place of the project's
    assert settings("plain") == (2, 11, 0.125, 0.0)
    assert settings("named") == (7, 11, 0.5, 0.75)
    assert [run.recipe for run in rows.values()] == ["mine", "reference", "mine", "for_vit"]


def test_a_row_whose_backbone_its_recipe_is_not_for_is_refused_when_it_is_run(project):
    bootstrap_project(project)
    with (
        open_session(project, "demo") as session,
        pytest.raises(UserError, match=r"rows\.unfit.*'for_vit'.*shufflenet"),
    ):
        session.run(pipeline_names=["rows"])
    assert not (project / "data/demo").exists()


@pytest.mark.parametrize(
    ("made_for", "fit", "unfit"),
    [
        ("any", ["vgg16", "vit_b_16"], []),
        (
            "convolutional",
            ["resnet18", "inception_v3", "convnext_tiny", "timm/convnext_tiny", "efficientnet_b0"],
            ["vit_b_16", "swin_t", "timm/vit_base_patch16_224", "timm/eva02_base_patch14_448"],
        ),
        (["transformer"], ["vit_l_16", "swin_v2_b", "timm/deit3_small_patch16_224"], ["vgg16"]),
        (["vit_*", "timm/vit_*"], ["vit_b_16", "timm/vit_small_patch14_dinov2"], ["swin_t"]),
        (["resnet18", "transformer"], ["resnet18", "swin_t"], ["resnet34"]),
    ],
    ids=str,
)
def test_a_recipe_names_the_backbones_that_it_is_for(made_for, fit, unfit):
    recipes = {"one": {"for": made_for}, "two": {}}
    for model in fit:
        check_fit(recipes, "one", model)
    for model in unfit:
        check_fit(recipes, "two", model)
        with pytest.raises(UserError, match=f"'one'.*'{model}'"):
            check_fit(recipes, "one", model)


trees = st.recursive(
    st.integers(0, 2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def leaves(tree, place=""):
    if not isinstance(tree, dict):
        return {place: tree}
    return {
        key: each for name in tree for key, each in leaves(tree[name], f"{place}.{name}").items()
    }


@given(
    st.dictionaries(st.sampled_from("abc"), trees), st.dictionaries(st.sampled_from("abc"), trees)
)
def test_every_setting_of_a_recipe_that_is_not_used_is_listed(settings, used):
    listed = list(list_overridden(settings, used))
    there = leaves(used)
    expected = [key for key, value in leaves(settings).items() if there.get(key) != value]
    assert [f".{each.split(' ')[0]}" for each in listed] == expected


@pytest.mark.parametrize("env", ["base", "demo"])
@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_recipe_that_is_shipped_fits_the_files_and_the_studies(name, env):
    made_for = SHIPPED[name].get("for", "any")
    model = "vit_b_16" if "transformer" in made_for else "resnet18"
    given = {"model": model}
    own = load(ROOT, env, recipe=name, **given).own
    plain = load(ROOT, env, **given).own
    if name == "reference":
        assert SHIPPED[name] == {}
        assert own == plain
    else:
        assert own.training != plain.training
