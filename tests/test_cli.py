"""`kedro run`: lists in `--params`, and mistyped names."""

import subprocess
import sys
from unittest.mock import Mock

import click
import pytest
from click.testing import CliRunner
from demo_project import make_project
from hypothesis import given
from hypothesis import strategies as st
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import _split_params
from kedro.framework.startup import bootstrap_project

from deepfake_detection.__main__ import main
from deepfake_detection.cli import run, split_outside_brackets, split_params

_CONTEXT = click.Context(click.Command("run"))
_OPTION = click.Option(["--params"])

# which YAML, or OmegaConf, reads as something else
_NO_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "nan", "inf", "-inf"}

_names = st.from_regex(r"[a-y]{1,5}(\.[a-z]{1,5}){0,2}", fullmatch=True)
_values = st.one_of(
    st.integers(-1000, 1000),
    st.booleans(),
    st.from_regex(r"[a-z/_-]{1,8}[a-z]", fullmatch=True).filter(lambda word: word not in _NO_WORDS),
)


def _read(text):
    return split_params(_CONTEXT, _OPTION, text)


@given(_names, st.lists(_values, max_size=4), st.integers(-9, 9))
def test_a_list_is_single_value(name, values, other):
    written = ", ".join(str(value).lower() for value in values)
    inner = _read(f"{name}=[{written}],zz={other}")
    for part in name.split("."):
        assert isinstance(inner, dict)
        inner = inner[part]
    assert inner == values


@given(
    st.lists(st.tuples(_names, _values), max_size=5, unique_by=lambda pair: pair[0].split(".")[0])
)
def test_without_brackets_it_is_what_kedro_reads(pairs):
    text = ", ".join(f"{name}={value}" for name, value in pairs)
    assert _read(text) == _split_params(_CONTEXT, _OPTION, text)


@given(st.text(alphabet="ab,[]{}= "))
def test_no_character_but_commas_and_blanks_is_lost(text):
    parts = split_outside_brackets(text)
    assert "".join(parts).translate({44: None, 32: None}) == text.translate({44: None, 32: None})
    assert all(part == part.strip() and part for part in parts)


def test_mappings_lists_batched_and_patterns():
    assert _read("studies.mine={a: [1, 2], b: x},pairs=[[0,1],[2,3]]") == {
        "studies": {"mine": {"a": [1, 2], "b": "x"}},
        "pairs": [[0, 1], [2, 3]],
    }
    assert _read(r"pattern=(.+)_[^,]+\.jpg,model=vgg16") == {
        "pattern": r"(.+)_[^,]+\.jpg",
        "model": "vgg16",
    }


def test_brackets_that_do_not_match_hold_nothing_together():
    assert _read("images=odd[folder,model=vgg16") == {"images": "odd[folder", "model": "vgg16"}
    assert _read("images=odd]folder,model=vgg16") == {"images": "odd]folder", "model": "vgg16"}


@pytest.mark.parametrize("text", ["model", "=vgg16", "seeds=[0,1],oops", "seeds=[0,1", "a={b: [}]"])
def test_what_is_no_parameter_is_single_line(text):
    answer = CliRunner().invoke(run, ["--params", text])
    assert answer.exit_code == 2
    assert answer.output.splitlines()[-1].startswith("Error: --params")


def test_a_file_of_parameters_is_taken_as_it_is():
    assert split_params(_CONTEXT, _OPTION, {"seeds": [0, 1]}) == {"seeds": [0, 1]}


def test_kedros_own_command_is_left_alone():
    def callback(command):
        return next(each.callback for each in command.params if each.name == "params")

    assert callback(kedro_run) is _split_params
    assert callback(run) is split_params
    assert [each.name for each in run.params] == [each.name for each in kedro_run.params]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("typed") / "project")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--env dmo", ["'dmo'", "'demo'"]),
        ("--pipelines trainin", ["--pipelines", "'trainin'", "'training'"]),
        ("--pipeline evaluaton", ["'evaluaton'", "'evaluation'"]),
        ("--nodes train_detectr", ["--nodes", "'train_detectr'", "'training.train_detector'"]),
        ("--from-nodes predct", ["--from-nodes", "'predct'", "'evaluation.predict'"]),
        ("--pipelines fine_tuning --to-nodes tabulate", ["--to-nodes", "'fine_tuning.tabulate'"]),
        ("--tags trainig", ["--tags", "'trainig'", "'training'"]),
        ("--to-outputs detecto", ["--to-outputs", "'detecto'", "'detector'"]),
        ("--from-inputs image_indx", ["--from-inputs", "'image_index'"]),
        (
            "--pipelines fine_tuning --namespaces fine_tuning.stp",
            ["--namespaces", "'fine_tuning.step'"],
        ),
        ("--tags training --nodes training.fetch_initial_weights", ["no nodes"]),
        ("--params training.epochs=0", ["'training.epochs'"]),
        ("--params training.epoch=3", ["'training.epoch'", "'epochs'"]),
        ("--params trainin.epochs=3", ["'trainin'", "'training'"]),
        ("--params training.schedule.name=linear", ["'training.schedule.name'"]),
        ("--params training.optimizer.betas=[0.9,0.999],split.ratios.train=0.9", ["sum to 1.3"]),
        ("--params model=resnet81", ["'resnet81'", "resnet18"]),
        ("--params qqq=0", ["'qqq'"]),
        ("--runner deepfake_detection.runners.DaskRunner", ["address="]),
    ],
)
def test_what_is_mistyped_ends_in_one_line(project, monkeypatch, options, named):
    monkeypatch.chdir(project)
    bootstrap_project(project)
    env = [] if "--env" in options else ["--env", "demo"]
    answer = CliRunner().invoke(run, [*env, *options.split()])
    assert answer.exit_code == 1
    # what Kedro raised would be an exception of another type
    assert isinstance(answer.exception, SystemExit)
    last = answer.output.splitlines()[-1]
    assert last.startswith("Error: ")
    assert all(name in last for name in named)


def test_an_error_of_a_node_keeps_its_traceback(project, monkeypatch):
    monkeypatch.chdir(project)
    bootstrap_project(project)
    error = ValueError("of a node")
    monkeypatch.setattr("kedro.runner.SequentialRunner.run", Mock(side_effect=error))
    answer = CliRunner().invoke(run, ["--env", "demo", "--pipelines", "data_preparation"])
    assert answer.exception is error


def test_the_package_is_a_command_with_and_without_run(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    for words in ([], ["run"]):
        monkeypatch.setattr("sys.argv", ["deepfake_detection", *words, "--env", "dmo"])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 1
        assert "'demo'" in capsys.readouterr().err


def test_ctrl_c_while_modules_are_imported_prints_no_traceback():
    code = "import deepfake_detection.settings; raise KeyboardInterrupt"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
