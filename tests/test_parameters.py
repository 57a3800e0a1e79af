import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from pydantic import ValidationError

from deepfake_detection.parameters import ProjectParameters, describe_problems
from deepfake_detection.parameters.generalisation import complete_sets

CONF = Path(__file__).parents[1] / "conf"
ENVIRONMENTS = sorted({path.parent.name for path in CONF.glob("*/*.yml")} - {"base", "local"})


def load(env="base", **runtime):
    loader = OmegaConfigLoader(
        str(CONF), base_env="base", default_run_env=env, env=env,
        merge_strategy={"parameters": "soft"}, runtime_params=runtime,
    )  # fmt: skip
    parameters = complete_sets(loader["parameters"])
    # rows of studies are checked when they are made into runs
    return {name: parameters[name] for name in parameters.keys() - parameters["studies"].keys()}


BASE = load()


def walk(block, place=()):
    """The place of every key of a tree of parameters."""
    for key, value in block.items():
        yield (*place, key)
        if isinstance(value, dict):
            yield from walk(value, (*place, key))


# Class folders, studies, recipes and backbones have names of the user's choice. Sorted, since files
# are read in no fixed order, and every test process must find the same tests.
NAMED = sorted(
    place
    for place in walk(BASE)
    if not {"classes", "studies", "recipes", "protocols"} & set(place[:-1])
)
KNOWN = [place for place in NAMED if not (place[0] == "backbones" and len(place) == 2)]


def changed(place, value):
    parts = place.split(".") if isinstance(place, str) else place
    parameters = copy.deepcopy(BASE)
    block = parameters
    for part in parts[:-1]:
        block = block[int(part) if isinstance(block, list) else part]
    block[int(parts[-1]) if isinstance(block, list) else parts[-1]] = value
    return parameters


def problem_in(parameters):
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


def test_a_mistyped_key_of_a_set_is_refused_with_the_right_one():
    sets = {"some": {"layot": "auto"}}
    parameters = complete_sets(changed("generalisation.sets", sets))
    name = "generalisation.sets.some.layot"
    assert problem_in(parameters) == f"unknown parameter '{name}': did you mean 'layout'?"


def test_a_key_like_no_other_is_refused_with_those_that_there_are():
    assert problem_in(changed("training.schedule.qqq", 1)) == (
        "unknown parameter 'training.schedule.qqq': known here: name, step_size, gamma, warmup"
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


# lists of values that are refused with the name of their parameter
WRONG_VALUES = r"""
model: [18]
pixels: [memory]
split: { method: [random], seed: [0.5], ratios: { train: [0], validation: [1.2], test: [-0.1] } }
training:
  weights: [null, ""]
  epochs: [0, 2.5, null]
  batch_size: [1]
  optimizer:
    name: [lion]
    lr: [-0.1, 0]
    head_lr_multiple: [-1]
    weight_decay: [-0.1]
    betas: { 1: [1] }
    momentum: [1]
    clip_norm: [0]
    accumulate: [0]
  schedule: { name: [cosin], gamma: [5], step_size: [0], warmup: [1, -0.1] }
  tune: { layers: [some], blocks: [0], layer_decay: [0, 1.1] }
  sampling: [even]
  ema: [0, 1]
  select_by: [f1]
  augmentation:
    flip: [50]
    rotation: [200]
    moved: [2]
    interpolation: [bicubic]
    scale: [[1.2, 1]]
    shift: [-0.1]
    colour: { probability: [2], hue: [0.6] }
    blur: { sigma: { 0: [0, 30] } }
    scaling: { factor: { 1: [1.5] } }
    noise: { deviation: [[9, 8]] }
    jpeg: { quality: { 0: [0, 50.5], 1: [101] } }
    cutout: { side: [[0.4, 0.1]] }
  self_blending: { radii: { 0: [0] } }
  early_stopping: { patience: [0] }
  loss: { class_weights: [true], auxiliary_weight: [-0.4], label_smoothing: [1] }
  device: [gpu]
  devices: [0, auto, true, 1.5, null]
  precision: [fp16]
  compile: [fast]
  checkpoint: { minutes: [-1], resume: [maybe] }
  seed: [-1, 9223372036854775808]
leakage: { hash_distance: [17], correlation: [0], thumbnail: [4], least_contrast: [0.6] }
shortcuts:
  most_images: [0]
  folds: [1]
  confidence: [1]
  warn_above: [0.4]
  equalise: { side: [8], cut: [0.5], quality: [96] }
data_preparation:
  max_rejected_share: [5]
  max_pixels: [1000000000]
  source: { size: [0], rule: [folder], pattern: [(] }
  group: { rule: [number], pattern: [\d+] }
  classes: { real: [genuine] }
backbones: { default: { std: { 1: [0.0] }, mean: { 2: [a] } }, vgg16: [224] }
calibration:
  threshold: { rule: [f1], value: [50], false_positive_rate: [-0.1] }
  temperature: { rule: [2], bounds: { 0: [0, 2], 1: [0.5] } }
  source_score: { rule: [mean, null], top_share: [0, 1.5, true] }
evaluation: { device: ["cuda:"], calibration_bins: [0], few_groups: [0] }
explanation:
  { false_cases: [0], smallest_grid: [1], fewest_groups: [1], regions: { mouth: { right: [1.2] } } }
robustness:
  subset: [train]
  jpeg: { 1: [96, 0, 70.5] }
  blur: { 0: [0] }
  scaling: { 0: [1, 0] }
  noise: { 0: [-4, 256] }
  brightness: { 1: [1] }
  most_images: [0]
paired_comparison: { detectors: { a: [""] } }
sample_size: { widths: { 0: [0, 1] }, differences: { 1: [-0.1] }, power: [0.4, 1] }
inference: { submission: { real: [true, null] } }
"""


def pairs(block, place):
    for key, values in block.items():
        if isinstance(values, dict):
            yield from pairs(values, f"{place}{key}.")
        else:
            yield from ((f"{place}{key}", value) for value in values)


WRONG = [
    *pairs(yaml.safe_load(WRONG_VALUES), ""),
    # where a block or a list is expected
    ("training", None), ("training.schedule", "step"), ("backbones.default.mean", 0.5),
    ("robustness.brightness", 0.5), ("robustness.blur", [1, 2, 1]),
    ("data_preparation.classes", ["real"]),
]  # fmt: skip

# values that do not fit others: the block that is named, the place, the value
TOGETHER: list[tuple[str, str, Any]] = [
    ("split.ratios", "split.ratios.train", 0.7),
    ("split", "split.fold", {"number": 4, "of": 3}),
    # without a test subset
    ("split", "split.leave_out", "fake_deepfake"),
    ("recipes", "recipes", {"mine": 3}),
    ("backbones.default", "backbones.default.crop", 300),
    ("backbones", "backbones.vgg16.resize", 100),
    ("explanation.regions.eyes", "explanation.regions.eyes.left", 0.9),
    ("explanation.regions.mouth", "explanation.regions.mouth.top", 1),
    ("data_preparation.source", "data_preparation.source.rule", "pattern"),
    ("data_preparation.group", "data_preparation.group.rule", "pattern"),
    ("data_preparation", "data_preparation.classes", {"a": "real"}),
    ("data_preparation", "data_preparation.classes", {}),
    ("data_preparation.classes.0", "data_preparation.classes", {0: "real", 1: "fake"}),
    ("data_preparation", "data_preparation.classes", {"/a": "real", "b": "fake"}),
    ("data_preparation", "data_preparation.classes", {"a/../..": "real", "b": "fake"}),
    ("data_preparation", "data_preparation.classes", {"a/": "real", "b": "fake"}),
    ("data_preparation", "data_preparation.classes", {"a": "real", "a/b": "fake"}),
    ("training.optimizer.betas", "training.optimizer.betas", [0.9]),
    ("backbones.default.mean", "backbones.default.mean", [0.5, 0.5]),
    ("inference.submission", "inference.submission.fake", 1),
    ("inference.submission", "inference.submission.name_column", "label"),
    ("study.seeds", "study.seeds", [1, 1]),
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_wrong_value_is_refused_with_its_parameter_and_itself(place, value):
    message = problem_in(changed(place, value))
    assert message.startswith(f"parameter '{place}': ")
    assert message.endswith(f"(it is {value!r})")


@pytest.mark.parametrize(("named", "place", "value"), TOGETHER)
def test_values_that_do_not_fit_together_are_refused(named, place, value):
    assert f"parameter '{named}" in problem_in(changed(place, value))


@pytest.mark.parametrize(
    ("place", "permitted"),
    [
        ("training.device", ["auto", "cpu", "cuda", "cuda:N", "mps"]),
        ("training.devices", ["all"]),
        ("training.schedule.name", ["none", "step", "exponential", "cosine"]),
        ("calibration.threshold.rule", ["fixed", "equal_error", "best_f1", "false_positive_rate"]),
        ("split.method", ["group", "individual"]),
    ],
)
def test_permitted_names_are_listed(place, permitted):
    message = problem_in(changed(place, "no such name"))
    assert all(name in message for name in permitted)


def leaves(kind):
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


LISTS = [place for place in leaves(list) if not {"leave_out", "fakes"} & set(place)]


@pytest.mark.parametrize("place", LISTS, ids=".".join)
def test_lists_of_numbers_hold_nothing_else(place):
    for value in (True, float("nan"), float("inf"), "a", None):
        assert f"parameter '{'.'.join(place)}.0'" in problem_in(changed((*place, "0"), value))


def test_a_distortion_is_left_out_by_an_empty_list():
    parameters = changed("robustness.noise", [])
    assert ProjectParameters.model_validate(parameters).robustness.noise == []


def test_several_problems_are_said_at_once():
    parameters = changed("training.epochs", 0)
    parameters["split"]["method"] = "random"
    message = problem_in(parameters)
    assert "'training.epochs'" in message
    assert "'split.method'" in message


def undescribed(text):
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


def test_the_reference_recipe_is_the_default():
    training = BASE["training"]
    assert (training["epochs"], training["batch_size"], training["shuffle"]) == (20, 64, True)
    expected = {
        "name": "adam", "lr": 0.0001, "head_lr_multiple": 10, "betas": [0.9, 0.999],
        "weight_decay": 0.0, "decay_norms": True, "clip_norm": None, "accumulate": 1,
    }  # fmt: skip
    assert training["optimizer"] == expected | {"momentum": 0.9}
    assert BASE["model"] == yaml.safe_load((CONF / "base/globals.yml").read_text())["model"]
    sizes = {name: (each["resize"], each["crop"]) for name, each in BASE["backbones"].items()}
    assert sizes == {
        "default": (256, 224), "resnet18": (256, 224), "vgg16": (256, 224),
        "inception_v3": (299, 299),
    }  # fmt: skip


def test_published_figures_name_a_detector_once_on_each_set_and_level():
    figures = ProjectParameters.model_validate(BASE).published_results.figures
    assert len(figures) > 20
    for each in figures:
        # of a detector that was not tuned to be wrong
        assert 0.5 < each.value < 1
        assert "arXiv" in each.source
    again = BASE["published_results"]["figures"] + BASE["published_results"]["figures"][-1:]
    message = problem_in(changed("published_results.figures", again))
    assert message.startswith("parameter 'published_results': figures names ")
    for key, value in (("value", 96.4), ("level", "image"), ("picked_on_test", "maybe")):
        place = f"published_results.figures.0.{key}"
        assert f"parameter '{place}'" in problem_in(changed(place, value))


def test_one_detector_alone_is_not_compared():
    assert "parameter 'paired_comparison': detectors should name at least two" in problem_in(
        changed("paired_comparison.detectors", {"mine": "file"})
    )
