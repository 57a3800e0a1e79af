"""Studies of the parameter files, made into runs."""

import copy
from functools import reduce
from operator import getitem

import pytest
from hypothesis import given
from hypothesis import strategies as st
from study_samples import BASE, load, make_study

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import Backbones, TrainingParameters
from deepfake_detection.parameters.merging import merge
from deepfake_detection.parameters.recipes import settings_of
from deepfake_detection.pipelines.studies.plan import check_given_rows, plan_studies

# Weight decay, schedule, learning rates of head and backbone, published best epoch and accuracy
TEN_ROWS = {
    "baseline": (0.0, "none", 0.001, 0.0001, 7, 0.990833),
    "step": (0.0, "step", 0.001, 0.0001, 12, 0.994167),
    "l2_1e2": (1e-2, "none", 0.001, 0.0001, 15, 0.985833),
    "l2_1e2_step": (1e-2, "step", 0.001, 0.0001, 17, 0.993333),
    "l2_1e3_step": (1e-3, "step", 0.001, 0.0001, 17, 0.993333),
    "l2_1e4_step": (1e-4, "step", 0.001, 0.0001, 10, 0.992917),
    "l2_1e3_step_lr_0005": (1e-3, "step", 0.005, 0.0005, 12, 0.992083),
    "l2_1e4_step_lr_0005": (1e-4, "step", 0.005, 0.0005, 17, 0.993333),
    "l2_1e3_step_lr_0008": (1e-3, "step", 0.008, 0.0008, 10, 0.985417),
    "l2_1e4_step_lr_0008": (1e-4, "step", 0.008, 0.0008, 17, 0.9875),
}


def problem_of(block, **changes):
    with pytest.raises(UserError) as caught:
        make_study(block, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def base_studies():
    return {study.name: study for study in plan_studies(BASE)[1]}


def test_fine_tuning_has_the_reference_s_ten_rows(base_studies):
    study = base_studies["fine_tuning"]
    assert list(study.runs) == list(TEN_ROWS)
    for name, expected in TEN_ROWS.items():
        run = study.runs[name]
        optimizer, schedule = run.training.optimizer, run.training.schedule
        assert expected == (
            optimizer.weight_decay, schedule.name,
            pytest.approx(optimizer.lr * optimizer.head_lr_multiple), optimizer.lr,
            run.published.best_epoch, run.published.validation_accuracy,
        )  # fmt: skip
        assert (run.model, run.split.method) == ("inception_v3", "individual")
        assert run.split.ratios.model_dump() == {"train": 0.8, "validation": 0.2, "test": 0.0}
        assert (run.training.epochs, schedule.step_size, schedule.gamma) == (20, 5, 0.5)
    assert study.overfit_above == 0.99


def test_comparison_is_twelve_runs_on_four_splits(base_studies):
    study = base_studies["comparison"]
    runs = study.runs.values()
    combinations = {(run.model, run.split.ratios.train, run.split.method) for run in runs}
    assert len(runs) == len(combinations) == 12
    assert set(study.splits) == {
        "individual_80_20", "group_80_20", "individual_70_30", "group_70_30",
    }  # fmt: skip
    assert study.axes["ratio"] == ["80 : 20", "70 : 30"]
    # each backbone at its own sizes
    assert study.runs["inception_v3_r80_group"].preprocessing.crop == 299
    assert study.runs["vgg16_r70_individual"].preprocessing.crop == 224


def test_nodes_find_the_sizes_of_their_run_whatever_the_backbone():
    rows = {
        "transformer": {"model": "timm/test_vit", "backbones": {"timm/test_vit": {"crop": 64}}},
        "plain": {"model": "vgg16"},
    }
    parameters, (study,) = plan_studies(BASE | {"studies": {"mine": "Mine"}, "mine": rows})
    assert study.runs["transformer"].preprocessing.crop == 64
    for name, run in study.runs.items():
        backbones = Backbones.model_validate(parameters["mine"][name]["backbones"])
        assert backbones.preprocessing(run.model) == run.preprocessing


@pytest.mark.parametrize("env", ["base", "demo"])
def test_every_study_that_is_delivered_can_be_made(env):
    names = {study.name for study in plan_studies(load(env))[1]}
    assert names == {
        "comparison", "lr_schedules", "fine_tuning", "cross_validation", "leave_one_out",
        "recipe_ladder",
    }  # fmt: skip


def test_the_command_line_reaches_a_study_all_rows_or_one():
    both = make_study({"one": {}, "two": {}}, training=BASE["training"] | {"epochs": 3})
    assert [run.training.epochs for run in both.runs.values()] == [3, 3]
    baseline = {"training": {"optimizer": {"lr": 0.5}}}
    parameters = load(fine_tuning={"split": {"method": "group"}, "baseline": baseline})
    study = {each.name: each for each in plan_studies(parameters)[1]}["fine_tuning"]
    assert list(study.splits) == ["group_80_20"]
    rates = {name: run.training.optimizer.lr for name, run in study.runs.items()}
    assert rates.pop("baseline") == 0.5
    assert 0.5 not in rates.values()


SETTINGS = ["training.epochs", "training.optimizer.lr", "training.batch_size", "split.seed"]
LEVELS = ["row", "level", "study"]


def find(parameters, setting):
    return reduce(getitem, setting.split("."), parameters)


@given(
    setting=st.sampled_from(SETTINGS),
    levels=st.sets(st.sampled_from(LEVELS), min_size=1),
)
def test_what_is_nearer_to_the_row_stands_over_the_rest(setting, levels):
    values = {level: 2 + LEVELS.index(level) for level in levels}

    def content(level):
        if level not in values:
            return {}
        return reduce(lambda inner, name: {name: inner}, setting.split(".")[::-1], values[level])

    block = {"grid": {"axis": {"a": content("level")}}, "a": content("row")} | content("study")
    run = make_study(block).runs["a"].model_dump()
    nearest = next(level for level in LEVELS if level in values)
    assert find(run, setting) == values[nearest]
    # and what nobody names is the project's own
    for other in set(SETTINGS) - {setting}:
        assert find(run, other) == find(BASE, other)


def test_seeds_and_folds_repeat_every_row():
    study = make_study({"seeds": [4, 9], "folds": 3, "one": {}, "two": {}})
    assert len(study.runs) == 12
    assert study.rows["two"][:2] == ["two.fold_1_seed_4", "two.fold_1_seed_9"]
    assert {run.training.seed for run in study.runs.values()} == {4, 9}
    # folds are of one draw, whatever the seed of the training
    assert {run.split.seed for run in study.runs.values()} == {BASE["split"]["seed"]}
    assert len(study.splits) == 3
    # a single seed is not in the name
    single = make_study({"seeds": [5], "one": {}}).runs
    assert [(name, run.training.seed) for name, run in single.items()] == [("one", 5)]


def test_rows_of_a_cumulative_study_add_up():
    block = {
        "cumulative": True,
        "seeds": [1, 2],
        "training": {"batch_size": 9},
        "start": {"title": "Start", "training": {"epochs": 3, "optimizer": {"lr": 0.5}}},
        "decay": {"training": {"optimizer": {"weight_decay": 0.25}}},
        "gone": None,
        "vgg": {"model": "vgg16", "training": {"epochs": 4}, "published": {"best_epoch": 2}},
        "last": {"split": {"seed": 3}},
    }
    study = make_study(block)

    def settings(run):
        training = run.training
        optimizer = training.optimizer
        return (
            run.model, run.split.seed, training.epochs, training.batch_size, optimizer.lr,
            optimizer.weight_decay,
        )  # fmt: skip

    rows = {row: settings(study.runs[runs[0]]) for row, runs in study.rows.items()}
    model, decay = BASE["model"], BASE["training"]["optimizer"]["weight_decay"]
    assert rows == {
        "start": (model, 0, 3, 9, 0.5, decay),
        "decay": (model, 0, 3, 9, 0.5, 0.25),
        "vgg": ("vgg16", 0, 4, 9, 0.5, 0.25),
        "last": ("vgg16", 3, 4, 9, 0.5, 0.25),
    }
    # what is said of a row is its own
    titles = [study.runs[runs[0]].title for runs in study.rows.values()]
    assert titles == ["Start", "decay", "vgg", "last"]
    assert [bool(run.published) for run in study.runs.values()] == [False] * 4 + [True] * 2 + [
        False
    ] * 2
    # by itself, a row starts from the study's settings
    alone = make_study(block | {"cumulative": False}).runs["decay.seed_1"]
    assert settings(alone) == (model, 0, 20, 9, 0.0001, 0.25)


def test_a_recipe_can_be_a_level_of_a_grid():
    recipes = BASE["recipes"] | {"long": {"training": {"epochs": 33}}}
    grid = {
        "backbone": {"resnet18": {"model": "resnet18"}, "vgg16": {"model": "vgg16"}},
        "recipe": {"reference": {"recipe": "reference"}, "long": {"recipe": "long"}},
    }
    runs = make_study({"grid": grid}, recipes=recipes).runs
    assert {name: (run.model, run.recipe, run.training.epochs) for name, run in runs.items()} == {
        "resnet18_reference": ("resnet18", "reference", 20),
        "resnet18_long": ("resnet18", "long", 33),
        "vgg16_reference": ("vgg16", "reference", 20),
        "vgg16_long": ("vgg16", "long", 33),
    }


@pytest.mark.parametrize("project", [{}, {"training": {"ema": 0.5, "epochs": 3}}])
def test_the_ladder_goes_from_the_reference_to_modern_cnn(project):
    plain = merge(BASE, project)
    modern = merge(plain, settings_of(BASE["recipes"], "modern_cnn"))
    # whatever the project's own recipe is
    parameters = merge(modern, {"recipe": "modern_cnn"})
    study = {each.name: each for each in plan_studies(parameters, plain)[1]}["recipe_ladder"]
    rows = [study.runs[runs[0]] for runs in study.rows.values()]
    assert rows[0].training == TrainingParameters.model_validate(plain["training"])
    assert rows[-1].training == TrainingParameters.model_validate(modern["training"])
    assert rows[-1].calibration.model_dump(mode="json") == modern["calibration"]
    # each row changes something
    settings = [run.training.model_dump_json() for run in rows]
    assert len(set(settings)) == len(rows) > 4
    assert settings_of(BASE["recipes"], "modern_cnn").keys() == {"training"}


def test_a_study_can_leave_out_each_kind_of_fake(base_studies):
    study = base_studies["leave_one_out"]
    left_out = {name: run.split.leave_out for name, run in study.runs.items()}
    assert list(left_out.values()) == [None, "fake_deepfake", "fake_face2face"]
    assert len(study.splits) == 3
    # one draw
    assert len({(run.split.seed, str(run.split.ratios)) for run in study.runs.values()}) == 1


def test_nodes_find_the_settings_of_each_run_under_its_name():
    block = {"seeds": [1, 2], "one": {"model": "vgg16"}, "backbones": {"vgg16": {"crop": 100}}}
    parameters = copy.deepcopy(BASE) | {"studies": {"mine": "My own"}, "mine": block}
    filled = plan_studies(parameters)[0]["mine"]
    assert filled["one"]["seed_2"]["training"]["seed"] == 2
    assert filled["one"]["seed_1"]["backbones"]["default"]["crop"] == 100
    assert filled["split_group_80_20"]["split"]["method"] == "group"
    assert filled["pixels_256_100"]["model"] == "vgg16"
    assert set(filled["about"]["runs"]) == {"one.seed_1", "one.seed_2"}


def test_null_takes_a_row_a_level_or_a_study_out():
    assert list(make_study({"one": {}, "two": None}).runs) == ["one"]
    grid = {"axis": {"a": {}, "b": None, "c": {}}}
    assert list(make_study({"grid": grid, "c": None}).runs) == ["a"]
    parameters = copy.deepcopy(BASE)
    parameters["studies"]["comparison"] = None
    filled, studies = plan_studies(parameters)
    assert "comparison" not in [study.name for study in studies]
    assert "comparison" not in filled


def test_rows_with_equal_settings_are_warned_of(caplog):
    same = {"training": {"epochs": BASE["training"]["epochs"]}}
    make_study({"one": {}, "two": same, "three": {"training": {"epochs": 1}}})
    assert "one and two" in caplog.text
    assert "three" not in caplog.text


@pytest.mark.parametrize(
    ("block", "named"),
    [
        ({"one": {"trainng": {}}}, ["mine.one.trainng", "'training'"]),
        ({"one": {"training": {"epoch": 3}}}, ["mine.one", "training.epoch"]),
        ({"one": {"training": {"epochs": 0}}}, ["mine.one", "training.epochs"]),
        ({"one": {"model": "resnet19"}}, ["mine.one", "resnet19", "resnet18"]),
        ({"one": {"backbones": {"vgg61": {"crop": 1}}}}, ["vgg61"]),
        ({"sedes": [1], "one": {}}, ["mine.sedes", "'seeds'"]),
        ({"adopt": True, "one": {}}, ["mine.adopt"]),
        ({"seeds": [1, 1], "one": {}}, ["mine", "seeds"]),
        ({"folds": 2, "one": {}}, ["mine", "'folds'"]),
        ({"overfit_above": 2, "one": {}}, ["mine", "'overfit_above'"]),
        ({"cumulative": 1.5, "one": {}}, ["mine", "'cumulative'"]),
        ({"cumulative": True, "grid": {"axis": {"a": {}}}}, ["'mine'", "grid"]),
        ({"one": {"recipe": "refrence"}}, ["mine.one", "'refrence'", "'reference'"]),
        ({"one": {"split": {"leave_out": "fake_deepfake"}}}, ["mine.one", "ratios.test"]),
        ({}, ["'mine'"]),
        (None, ["'mine'"]),
        ({"split_one": {}}, ["'split_one'", "mine"]),
        ({"r0.8": {}}, ["'r0.8'", "mine"]),
        ({"about": {}}, ["'about'", "mine"]),
        ({"grid": 3, "one": {}}, ["mine.grid"]),
        ({"grid": {"axis": 3}}, ["mine.grid.axis"]),
        ({"grid": {"axis": {"a": 3}}}, ["mine.grid.axis.a"]),
        ({"grid": {"axis": {"a": {"modle": 1}}}}, ["mine.grid.axis.a.modle"]),
        ({"one": {"published": {"accuracy": 1}}}, ["mine.one", "published.accuracy"]),
        ({"one": {"split": {"fold": {"number": 4, "of": 3}}}}, ["mine.one", "fold"]),
    ],
)
def test_what_does_not_fit_is_named(block, named):
    said = problem_of(block)
    assert all(each in said for each in named), said


def test_names_of_the_command_line_and_of_studies_must_fit_the_files():
    files = {"studies": {"mine": "My own"}, "mine": {"plain": {}, "grid": {"axis": {"a": {}}}}}
    check_given_rows({"mine": {"plain": {}, "a": {}, "seeds": [1]}, "other": {"x": 1}}, files)
    with pytest.raises(UserError, match=r"'plane'.*'plain'"):
        check_given_rows({"mine": {"plane": {}}}, files)
    # nor can a study have the name of another block
    assert "'training'" in problem_of({"one": {}}, studies={"training": "No"})
