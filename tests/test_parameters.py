import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from pydantic import ValidationError

from deepfake_detection.parameters import ProjectParameters, describe_problems

CONF = Path(__file__).parents[1] / "conf"
ENVIRONMENTS = sorted({path.parent.name for path in CONF.glob("*/*.yml")} - {"base", "local"})


def load(env: str = "base", **runtime: Any) -> dict[str, Any]:
    loader = OmegaConfigLoader(
        str(CONF), base_env="base", default_run_env=env, env=env,
        merge_strategy={"parameters": "soft"}, runtime_params=runtime,
    )  # fmt: skip
    parameters = dict(loader["parameters"])
    # rows of studies are checked when they are made into runs
    return {name: parameters[name] for name in parameters.keys() - parameters["studies"].keys()}


BASE = load()


def walk(block: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every key of a tree of parameters."""
    for key, value in block.items():
        yield (*place, key)
        if isinstance(value, dict):
            yield from walk(value, (*place, key))


# Class folders, studies and backbones have names of the user's choice. Sorted, since files are
# read in no fixed order, and every test process must find the same tests.
NAMED = sorted(place for place in walk(BASE) if not {"classes", "studies"} & set(place[:-1]))
KNOWN = [place for place in NAMED if not (place[0] == "backbones" and len(place) == 2)]


def changed(place: tuple[Any, ...] | str, value: Any) -> dict[str, Any]:
    parts = place.split(".") if isinstance(place, str) else place
    parameters = copy.deepcopy(BASE)
    block = parameters
    for part in parts[:-1]:
        block = block[part]
    block[parts[-1]] = value
    return parameters


def problem_in(parameters: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        ProjectParameters.model_validate(parameters)
    message = describe_problems(caught.value, ProjectParameters)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("env", ["base", *ENVIRONMENTS])
def test_the_project_s_own_parameters_are_valid(env):
    ProjectParameters.model_validate(load(env))


@pytest.mark.parametrize("place", KNOWN, ids=".".join)
def test_a_mistyped_key_is_refused_with_the_right_one(place):
    siblings = {other[-1] for other in KNOWN if other[:-1] == place[:-1]}
    for mistyped in {place[-1] + "s", place[-1][0] + place[-1]} - siblings:
        message = problem_in(changed((*place[:-1], mistyped), 1))
        name = ".".join((*place[:-1], mistyped))
        assert message == f"unknown parameter '{name}': did you mean '{place[-1]}'?"


def test_a_key_like_no_other_is_refused_with_those_that_there_are():
    assert problem_in(changed("training.schedule.qqq", 1)) == (
        "unknown parameter 'training.schedule.qqq': known here: name, step_size, gamma"
    )


@pytest.mark.parametrize(
    "place", [place for place in KNOWN if place[0] != "backbones"], ids=".".join
)
def test_nothing_has_a_default(place):
    parameters = copy.deepcopy(BASE)
    block = parameters
    for part in place[:-1]:
        block = block[part]
    del block[place[-1]]
    assert problem_in(parameters) == f"parameter '{'.'.join(place)}' is missing"


def test_a_backbone_takes_from_the_default_what_it_leaves_out():
    parameters = changed("backbones.vgg16", {"resize": 400})
    backbones = ProjectParameters.model_validate(parameters).backbones
    default = backbones.preprocessing("efficientnet_b0")
    assert default.model_dump(mode="json") == BASE["backbones"]["default"]
    assert backbones.preprocessing("vgg16") == default.model_copy(update={"resize": 400})
    assert "backbones.default' is missing" in problem_in(changed("backbones", {"vgg16": {}}))


WRONG = [
    # ratios
    ("split.ratios.train", 0.7, "'split.ratios': train, validation and test sum to 0.9, not to 1"),
    ("split.ratios.train", 0, "'split.ratios.train': input should be greater than 0 (it is 0)"),
    ("split.ratios.validation", 1.2, "'split.ratios.validation': .* less than or equal to 1"),
    ("split.ratios.test", -0.1, "'split.ratios.test': .* greater than or equal to 0"),
    ("split.ratios", {"train": 0.0, "validation": 1.0, "test": 0.0}, "'split.ratios.train'"),
    # numbers out of range
    ("training.optimizer.lr", -0.001, "'training.optimizer.lr': .* greater than 0 (it is -0.001)"),
    ("training.optimizer.lr", 0, "'training.optimizer.lr': .* greater than 0"),
    ("training.optimizer.head_lr_multiple", -10, "'training.optimizer.head_lr_multiple'"),
    ("training.optimizer.weight_decay", -1e-3, "'training.optimizer.weight_decay'"),
    ("training.optimizer.betas", [0.9, 1.0], "'training.optimizer.betas.1': .* less than 1"),
    ("training.optimizer.betas", [0.9], "'training.optimizer.betas"),
    ("training.schedule.gamma", 5, "'training.schedule.gamma': .* less than or equal to 1"),
    ("training.schedule.step_size", 0, "'training.schedule.step_size'"),
    ("training.epochs", 0, "'training.epochs': .* greater than 0"),
    ("training.epochs", 2.5, "'training.epochs': .* integer.* (it is 2.5)"),
    ("training.epochs", None, "'training.epochs': .* (it is None)"),
    ("training.batch_size", 1, "'training.batch_size': .* greater than or equal to 2"),
    ("training.augmentation.flip", 50, "'training.augmentation.flip'"),
    ("training.augmentation.rotation", 200, "'training.augmentation.rotation'"),
    ("training.early_stopping.patience", 0, "'training.early_stopping.patience'"),
    ("training.loss.auxiliary_weight", -0.4, "'training.loss.auxiliary_weight'"),
    ("training.devices", 0, "'training.devices"),
    ("training.devices", "all", "'training.devices"),
    ("training.machines", 0, "'training.machines'"),
    ("training.machines", 2, "'training': rendezvous must be given as HOST:PORT"),
    ("training.rendezvous", "10.0.0.5", "'training.rendezvous': should be HOST:PORT"),
    ("training.checkpoint.minutes", -1, "'training.checkpoint.minutes'"),
    ("training.checkpoint.resume", "maybe", "'training.checkpoint.resume'"),
    ("training.seed", -1, "'training.seed'"),
    ("training.seed", 2**70, "'training.seed': .* less than"),
    ("split.seed", 0.5, "'split.seed': .* integer"),
    ("leakage.hash_distance", 17, "'leakage.hash_distance': .*less than or equal to 16"),
    ("leakage.correlation", 0, "'leakage.correlation': .*greater than 0"),
    ("leakage.thumbnail", 4, "'leakage.thumbnail': .*greater than or equal to 8"),
    ("leakage.least_contrast", 0.6, "'leakage.least_contrast': .*less than or equal to 0.5"),
    ("leakage.most_candidates", 0, "'leakage.most_candidates': .*greater than 0"),
    ("data_preparation.max_rejected_share", 5, "'data_preparation.max_rejected_share'"),
    ("data_preparation.max_pixels", 10**9, "'data_preparation.max_pixels': .* 178956970"),
    ("data_preparation.source.size", 0, "'data_preparation.source.size'"),
    ("backbones.default.std", [0.2, 0.0, 0.2], "'backbones.default.std.1': .* greater than 0"),
    ("backbones.default.mean", 0.5, "'backbones.default.mean': should be a list (it is 0.5)"),
    ("backbones.default.mean", [0.5, 0.5], "'backbones.default.mean"),
    ("backbones.default.crop", 300, "'backbones.default': crop (300) is larger than resize"),
    ("backbones.vgg16.resize", 100, "'backbones': vgg16: crop (224) is larger than resize"),
    # calibration
    ("calibration.threshold.rule", "f1", "'calibration.threshold.rule': .*'best_f1'"),
    ("calibration.threshold.value", 50, "'calibration.threshold.value': .* less than or equal"),
    (
        "calibration.threshold.false_positive_rate",
        -0.1,
        "'calibration.threshold.false_positive_rate'",
    ),
    ("calibration.temperature.rule", 2, "'calibration.temperature.rule': .*'scaling'"),
    ("calibration.temperature.bounds", [0, 10], "'calibration.temperature.bounds.0'"),
    ("calibration.temperature.bounds", [2, 10], "'calibration.temperature': bounds (2 to 10) sho"),
    ("evaluation.calibration_bins", 0, "'evaluation.calibration_bins'"),
    ("evaluation.few_groups", 0, "'evaluation.few_groups'"),
    ("explanation.false_cases", 0, "'explanation.false_cases': .*greater than 0"),
    ("explanation.smallest_grid", 1, "'explanation.smallest_grid': .*greater than or equal to 2"),
    ("explanation.fewest_groups", 1, "'explanation.fewest_groups': .*greater than or equal to 2"),
    ("explanation.regions.eyes.left", 0.9, "'explanation.regions.eyes': left (0.9) is not left of"),
    ("explanation.regions.mouth.top", 1, "'explanation.regions.mouth': top (1) is not above bot"),
    ("explanation.regions.mouth.right", 1.2, "'explanation.regions.mouth.right'"),
    # robustness
    ("robustness.subset", "train", "'robustness.subset': .*'test' (it is 'train')"),
    ("robustness.jpeg", [90, 96], "'robustness.jpeg.1': .* less than or equal to 95"),
    ("robustness.jpeg", [0], "'robustness.jpeg.0': .* greater than or equal to 1"),
    ("robustness.jpeg", [70.5], "'robustness.jpeg.0': .* integer"),
    ("robustness.blur", [0], "'robustness.blur.0': .* greater than 0"),
    ("robustness.blur", [1, 2, 1], "'robustness.blur': names a strength twice"),
    ("robustness.scaling", [1], "'robustness.scaling.0': .* less than 1"),
    ("robustness.scaling", [0], "'robustness.scaling.0': .* greater than 0"),
    ("robustness.noise", [-4], "'robustness.noise.0': .* greater than 0"),
    ("robustness.noise", [256], "'robustness.noise.0': .* less than or equal to 255"),
    ("robustness.brightness", [0.5, 1], "'robustness.brightness.1': 1 changes nothing"),
    ("robustness.brightness", 0.5, "'robustness.brightness': .*list"),
    ("robustness.most_images", 0, "'robustness.most_images'"),
    # names
    ("training.schedule.name", "cosin", "'training.schedule.name': .*'cosine' (it is 'cosin')"),
    ("training.optimizer.name", "sgd", "'training.optimizer.name': .*'adam'"),
    ("training.loss.class_weights", True, "'training.loss.class_weights': .*'balanced'"),
    ("training.device", "gpu", "'training.device': .* auto, cpu, cuda, cuda:N, mps (it is 'gpu')"),
    ("evaluation.device", "cuda:", "'evaluation.device'"),
    ("split.method", "random", "'split.method': .*'individual' (it is 'random')"),
    ("data_preparation.source.rule", "folder", "'data_preparation.source.rule'"),
    ("data_preparation.group.rule", "number", "'data_preparation.group.rule'"),
    ("training.precision", "fp16", "'training.precision': .*'bf16' (it is 'fp16')"),
    ("training.compile", "fast", "'training.compile'"),
    ("pixels", "memory", "'pixels': .*'store' or 'files' (it is 'memory')"),
    ("benchmark.precisions", ["fp8"], "'benchmark.precisions.0'"),
    ("benchmark.batch_sizes", [], "'benchmark.batch_sizes': .*at least 1"),
    ("benchmark.batch_sizes", [1], "'benchmark.batch_sizes.0': .*greater than or equal to 2"),
    ("benchmark.plain_workers", -1, "'benchmark.plain_workers"),
    ("training.weights", None, "'training.weights': should be text"),
    ("training.weights", "", "'training.weights'"),
    ("model", 18, "'model': should be text; if it is, put it in quotes (it is 18)"),
    ("training", None, "'training': should be a block of parameters (it is None)"),
    ("training.schedule", "step", "'training.schedule': should be a block of parameters"),
    ("backbones.vgg16", 224, "'backbones.vgg16': should be a block of parameters (it is 224)"),
    # patterns
    ("data_preparation.source.pattern", "(", "'data_preparation.source.pattern': .*regular expr"),
    ("data_preparation.group.pattern", r"\d+", "'data_preparation.group.pattern': .*brackets"),
    ("data_preparation.source.rule", "pattern", "'data_preparation.source': pattern must be given"),
    ("data_preparation.group.rule", "pattern", "'data_preparation.group': pattern must be given"),
    # class folders
    ("data_preparation.classes", {"a": "real"}, "'data_preparation': .*label 'fake'"),
    ("data_preparation.classes", {}, "'data_preparation': .*label 'real'"),
    ("data_preparation.classes", ["real"], "'data_preparation.classes': should be a block"),
    ("data_preparation.classes.real", "genuine", "'data_preparation.classes.real': .*'fake'"),
    ("data_preparation.classes", {0: "real", 1: "fake"}, "'data_preparation.classes.0': .*quotes"),
    ("data_preparation.classes", {"/a": "real", "b": "fake"}, "'/a' is not a path inside"),
    ("data_preparation.classes", {"a/../..": "real", "b": "fake"}, "is not a path inside"),
    ("data_preparation.classes", {"a/": "real", "b": "fake"}, "'a/' is not a path inside"),
    ("data_preparation.classes", {"a": "real", "a/b": "fake"}, "'a/b' lies inside another"),
    ("inference.submission.real", True, "'inference.submission.real"),
    ("inference.submission.fake", 1, "real and fake should differ"),
    ("inference.submission.name_column", "label", "name_column and value_column should differ"),
]


@pytest.mark.parametrize(("place", "value", "said"), WRONG, ids=[w[0] + str(w[1]) for w in WRONG])
def test_a_wrong_value_is_refused_by_its_parameter_s_name(place, value, said):
    parts = map(re.escape, said.split(".*"))
    assert re.search(".*".join(parts), problem_in(changed(place, value)))


def leaves(kind: type | tuple[type, ...]) -> list[tuple[Any, ...]]:
    found = []
    for place in KNOWN:
        value: Any = BASE
        for part in place:
            value = value[part]
        if isinstance(value, kind) and not isinstance(value, bool):
            found.append(place)
    return found


# what a submission answers is a number or text
NUMBERS = [place for place in leaves((int, float)) if "submission" not in place]


@pytest.mark.parametrize("place", NUMBERS, ids=".".join)
def test_what_is_a_number_takes_nothing_else(place):
    for value in (True, False, float("nan"), float("inf"), -float("inf"), "many", [1], {"a": 1}):
        assert f"parameter '{'.'.join(place)}" in problem_in(changed(place, value))


def lists_of(kind: type | tuple[type, ...]) -> list[tuple[Any, ...]]:
    found = []
    for place in leaves(list):
        value: Any = BASE
        for part in place:
            value = value[part]
        if all(isinstance(each, kind) for each in value):
            found.append(place)
    return found


@pytest.mark.parametrize("place", lists_of(str), ids=".".join)
def test_lists_of_names_hold_nothing_else(place):
    for value in (True, 1, None, ["a"]):
        assert f"parameter '{'.'.join(place)}.0'" in problem_in(changed(place, [value]))


@pytest.mark.parametrize("place", lists_of((int, float)), ids=".".join)
def test_lists_of_numbers_hold_nothing_else(place):
    for value in (True, float("nan"), float("inf"), "a", None):
        values = [value, *([0.5] * 2 if place[0] == "backbones" else [0.5])]
        assert f"parameter '{'.'.join(place)}.0'" in problem_in(changed(place, values))


def test_a_distortion_is_left_out_by_an_empty_list():
    parameters = changed("robustness.noise", [])
    assert ProjectParameters.model_validate(parameters).robustness.noise == []


def test_several_problems_are_said_at_once():
    parameters = changed("training.epochs", 0)
    parameters["split"]["method"] = "random"
    message = problem_in(parameters)
    assert "'training.epochs'" in message
    assert "'split.method'" in message


# ---------------------------------------------------------------- the files themselves


def undescribed(text: str) -> Iterator[str]:
    """Leaves of a YAML file with no comment on their line, above them, or above their block."""
    lines = text.splitlines()
    described: dict[int, bool] = {}  # by indentation: is there a comment above the block
    above = False
    for line in lines:
        content = line.strip()
        if not content:
            above = False
        elif content.startswith("#"):
            above = True
        else:
            indent = len(line) - len(line.lstrip())
            described = {at: said for at, said in described.items() if at < indent}
            said = above or " #" in line
            is_leaf = not re.fullmatch(r"[\w.]+:( #.*)?", content)
            if is_leaf and not said and not any(described.values()):
                yield content
            described[indent] = said
            above = False


# names that say all
PLAIN = {"epochs: 20", "seed: 0", "name: adam", "gallery_columns: 6", "betas: [0.9, 0.999]"}


@pytest.mark.parametrize(
    "path", sorted((CONF / "base").glob("parameters*.yml")), ids=lambda p: p.stem
)
def test_every_parameter_is_described(path):
    assert set(undescribed(path.read_text(encoding="utf-8"))) <= PLAIN


def test_the_seed_recipe_is_the_default():
    training = BASE["training"]
    assert (training["epochs"], training["batch_size"], training["shuffle"]) == (20, 64, True)
    assert training["optimizer"] == {
        "name": "adam", "lr": 0.0001, "head_lr_multiple": 10, "betas": [0.9, 0.999],
        "weight_decay": 0.0,
    }  # fmt: skip
    assert BASE["model"] == yaml.safe_load((CONF / "base/globals.yml").read_text())["model"]
    sizes = {name: (each["resize"], each["crop"]) for name, each in BASE["backbones"].items()}
    assert sizes == {
        "default": (256, 224), "resnet18": (256, 224), "vgg16": (256, 224),
        "inception_v3": (299, 299),
    }  # fmt: skip
