"""Studies as a user runs them: what is finished is found again, and nothing is mixed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from demo_project import change_yaml, latest, make_project, wait_for

from deepfake_detection import Detector
from deepfake_detection.errors import UserError
from deepfake_detection.images.fingerprints import unpack_hashes

STUDY = {
    "split": {"ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}},
    "overfit_above": 1.0,
    "plain": {"title": "Plain", "published": {"best_epoch": 2, "validation_accuracy": 0.9}},
    "decayed": {"training": {"optimizer": {"weight_decay": 0.01}}},
    "torn": {"split": {"method": "individual"}},
}


def add_study(project, name, block):
    change_yaml(
        project / "conf/demo/parameters_studies.yml", studies={name: f"My {name}"}, **{name: block}
    )


def trained(caplog):
    """The runs that were trained, by what the log says of each; and forget the log."""
    started = re.findall(r"Run \d+ of \d+: .* \((?:\w+\.)([\w.]+)\)", caplog.text)
    said = re.findall(r"Run \d+ of \d+|Not trained again|Training \w+ on", caplog.text)
    caplog.clear()
    outcomes = [each for each in said if not each.startswith("Run ")]
    assert len(outcomes) == len(started)
    return [run for run, outcome in zip(started, outcomes, strict=True) if "Training" in outcome]


@pytest.fixture(scope="module")
def prepared(demo_project, tmp_path_factory):
    """A project with a study of three rows, none of them made."""
    folder = tmp_path_factory.mktemp("studies") / "project"
    shutil.copytree(demo_project, folder)
    add_study(folder, "mine", STUDY)
    return folder


@pytest.fixture(scope="module")
def made(prepared, kedro):
    """The project after its study, which was killed and started again, and what was said then.

    Read only.
    """
    project = Path(shutil.copytree(prepared, prepared.parent / "made"))
    command = ["run", "--env", "demo", "--pipelines", "mine"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", *command], cwd=project, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    wait_for(process, "Run 2 of 3")
    wait_for(process, "Epoch 1/")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = kedro(project, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done.stdout


@pytest.fixture
def studied(made, tmp_path):
    return Path(shutil.copytree(made[0], tmp_path / "project"))


TABLE, TABULATE = {"to_outputs": ["mine.table", "mine.choice"]}, {"node_names": ["mine.tabulate"]}


def table_of(project, study="mine"):
    path = latest(project, f"data/demo/08_reporting/studies/{study}/table.csv")
    return pd.read_csv(path).set_index("run")


def test_a_study_ends_in_its_table(made):
    project, said = made
    table = table_of(project)
    assert list(table.index) == ["plain", "decayed", "torn"]
    assert list(table["training.optimizer.weight_decay"]) == [0.0, 0.01, 0.0]
    assert list(table["split_method"]) == ["group", "group", "individual"]
    assert table.at["plain", "published_validation_accuracy"] == 0.9
    assert table["subset"].eq("test").all()
    for run, row in table.iterrows():
        file = f"data/demo/07_model_output/studies/mine/{run}/metrics.json"
        metrics = json.loads(latest(project, file).read_text())
        detector = Detector.load(
            latest(project, f"data/demo/06_models/studies/mine/{run}/detector.safetensors")
        )
        assert row["run_fingerprint"] == metrics["run_fingerprint"] == detector.card.run_fingerprint
        assert row["split_fingerprint"] == detector.card.split["fingerprint"]
        assert row["best_validation_accuracy"] == detector.card.best_validation_accuracy
    # what the command prints: the running row, the table, the choice and its use
    choice = choice_of(project)
    printed = " ".join(said.split())
    for each in ("Run 3 of 3", f"{table.at['plain', 'best_validation_accuracy']:.4f}", "0.9000"):
        assert each in printed
    assert choice["title"] in printed
    box = said[said.rindex("Finished") :]
    page = latest(project, "data/demo/08_reporting/studies/mine/page.html")
    for each in (choice["title"], str(page.relative_to(project)), "--env demo --pipelines"):
        assert each in box
    assert choice["use"].replace(",", "") in said.replace(",", "").replace("\n", "").replace(
        " ", ""
    )
    for name in ("curves", "losses", "comparisons", "scores", "inflation_figure"):
        figure = latest(project, f"data/demo/08_reporting/studies/mine/{name}.png")
        assert figure.read_bytes().startswith(b"\x89PNG")
    page = latest(project, "data/demo/08_reporting/studies/mine/page.html").read_text()
    assert choice["use"] in page
    assert page.count("<svg") == 5


def choice_of(project):
    return json.loads(
        latest(project, "data/demo/08_reporting/studies/mine/choice.json").read_text()
    )


def test_the_choice_names_the_folders_of_a_grouped_run(made):
    choice = choice_of(made[0])
    assert choice["split_method"] == "group"
    use = dict(each.split("=") for each in choice["use"].split(","))
    detector = latest(made[0], f"data/demo/06_models/{use['run']}/detector.safetensors")
    split = latest(made[0], f"data/demo/05_model_input/{use['run_split']}/split_summary.json")
    card = Detector.load(detector).card
    assert card.run_fingerprint == table_of(made[0]).at[choice["run"], "run_fingerprint"]
    assert card.split["fingerprint"] == json.loads(split.read_text())["fingerprint"]
    inflation = pd.read_csv(latest(made[0], "data/demo/08_reporting/studies/mine/inflation.csv"))
    table = table_of(made[0])["best_validation_accuracy"]
    first = inflation.iloc[0]
    assert first["inflation"] == pytest.approx(table["torn"] - table["plain"])


def test_the_printed_command_writes_the_report_of_the_chosen_run(studied, run_here):
    choice = choice_of(studied)
    # the audit of the study's split was missing once
    pipelines = "leakage_audit,shortcut_audit,evaluation,robustness,reporting"
    page = latest(studied, "data/demo/08_reporting/studies/mine/page.html").read_text()
    assert f"kedro run --env demo --pipelines {pipelines} --params {choice['use']}" in page
    use = dict(each.split("=") for each in choice["use"].split(","))
    run_here(studied, *pipelines.split(","), **use)
    report = latest(studied, f"data/demo/08_reporting/{use['run']}/report.html")
    assert report.stat().st_size > 100_000
    # the page leads to it from then on
    run_here(studied, "mine", part={"node_names": ["mine.report_study"]})
    page = latest(studied, "data/demo/08_reporting/studies/mine/page.html")
    (link,) = re.findall(r'href="(\.\./[^"]*)"', page.read_text())
    assert (page.parent / link).resolve() == report.resolve()


def test_what_is_finished_is_not_made_again_and_what_changed_is(studied, run_here, caplog):
    before = table_of(studied)
    trained_file = "data/demo/06_models/studies/mine/plain/uncalibrated_detector.safetensors"
    file = latest(studied, trained_file)
    caplog.set_level("INFO")
    run_here(studied, "mine", part=TABLE)
    assert trained(caplog) == []
    pd.testing.assert_frame_equal(table_of(studied), before)
    again = latest(studied, trained_file)
    assert again != file
    assert again.samefile(file)  # no second copy of the weights

    run_here(studied, "mine", part=TABLE, mine={"decayed": {"training": {"epochs": 1}}})
    assert trained(caplog) == ["decayed"]
    after = table_of(studied)
    changed = before["run_fingerprint"] != after["run_fingerprint"]
    assert list(after.index[changed]) == ["decayed"]
    assert after.at["decayed", "epochs"] == 1

    # back again: an earlier version of each row is the one that is asked for
    run_here(studied, "mine", part=TABLE)
    assert trained(caplog) == []
    pd.testing.assert_frame_equal(table_of(studied), before)


def test_another_split_makes_its_rows_again(studied, run_here, caplog):
    caplog.set_level("INFO")
    run_here(studied, "mine", part=TABLE, mine={"torn": {"split": {"method": "group", "seed": 1}}})
    assert trained(caplog) == ["torn"]
    assert table_of(studied).at["torn", "split_method"] == "group"


def test_a_table_is_never_of_other_settings_than_the_study_has(studied, run_here):
    with pytest.raises(UserError, match=r"decayed.*mine"):
        run_here(studied, "mine", part=TABULATE, mine={"decayed": {"training": {"epochs": 1}}})


def test_a_table_asked_for_too_early_says_which_rows_are_missing(studied, run_here, caplog):
    for row in ("plain", "torn"):
        shutil.rmtree(studied / f"data/demo/07_model_output/studies/mine/{row}")
    with pytest.raises(UserError, match="plain, torn") as caught:
        run_here(studied, "mine", part=TABULATE)
    # and the command that it names makes them, and no other
    asked = re.search(r"--namespaces (\S+)", str(caught.value))
    assert asked
    caplog.set_level("INFO")
    run_here(studied, "mine", part={"namespaces": asked.group(1).split(",")})
    assert "Run 2 of 2" in caplog.text
    assert trained(caplog) == []
    run_here(studied, "mine", part=TABULATE)


def test_one_run_from_nothing_names_the_command_that_makes_it(tmp_path, demo_project, run_here):
    project = Path(shutil.copytree(demo_project, tmp_path / "project"))
    add_study(project, "mine", STUDY)
    with pytest.raises(UserError, match=r"mine\.split_group_60_20_20\.split") as caught:
        run_here(project, "mine", part={"namespaces": ["mine.plain"]})
    asked = re.search(r"--to-outputs (\S+)", str(caught.value))
    assert asked
    run_here(project, "mine", part={"to_outputs": [asked.group(1)]})
    made = [path.name for path in (project / "data/demo/06_models/studies/mine").iterdir()]
    assert made == ["plain"]


def test_a_killed_study_goes_on_with_what_is_missing(made):
    project, said = made
    assert said.count("Not trained again") == 1
    # the second goes on, or begins anew where the kill came before its state was written
    assert said.count("Training shufflenet") == 2
    assert not list(project.glob("data/demo/06_models/studies/mine/*/training_checkpoints"))


def test_a_cross_validation_scores_every_image_once_by_a_detector_that_has_not_seen_it(
    prepared, tmp_path, run_here
):
    project = Path(shutil.copytree(prepared, tmp_path / "project"))
    block = {"folds": 3, "training": {"epochs": 1}, "current": {"title": "Now"}}
    add_study(project, "crossed", block)
    wanted = ["out_of_fold_predictions", "fold_metrics", "label_issues", "summary"]
    run_here(project, "crossed", part={"to_outputs": [f"crossed.{name}" for name in wanted]})
    output = project / "data/demo/07_model_output/studies/crossed"
    pooled = pd.read_csv(latest(output, "out_of_fold_predictions.csv"))
    index = pd.read_parquet(latest(project, "data/demo/02_intermediate/image_index.parquet"))
    assert sorted(pooled["path"]) == sorted(index["path"])
    assert not pooled.groupby("group")["fold"].nunique().gt(1).any()
    sha256 = index.set_index("path")["sha256"]
    for fold, scored in pooled.groupby("fold"):
        path = f"data/demo/06_models/studies/crossed/current.fold_{fold}/detector.safetensors"
        detector = Detector.load(latest(project, path))
        used = unpack_hashes(detector.trained_on) | unpack_hashes(detector.validated_on)
        assert not used & set(sha256[scored["path"]])
        # stratified: a third of each class
        shares = scored["class_name"].value_counts() / index["class_name"].value_counts()
        assert shares.between(0.2, 0.47).all()
    metrics = pd.read_csv(latest(output, "fold_metrics.csv"))
    accuracy = metrics[(metrics["metric"] == "accuracy") & (metrics["level"] == "image")].iloc[0]
    right = pooled["label"] == pooled["predicted"]
    assert accuracy["value"] == pytest.approx(right.mean())
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    summary = pd.read_csv(
        latest(project, "data/demo/08_reporting/studies/crossed/summary.csv")
    ).set_index("metric")
    assert summary.at["accuracy", "all_folds"] == pytest.approx(right.mean())
    assert summary.at["accuracy", "runs"] == 3
    by_fold = right.groupby(pooled["fold"]).mean()
    assert summary.at["accuracy", "mean"] == pytest.approx(by_fold.mean())
    assert summary.at["accuracy", "standard_deviation"] == pytest.approx(by_fold.std())
    issues = pd.read_csv(latest(output, "label_issues.csv"))
    wrong = pooled.loc[~right, "path"]
    assert set(issues["path"]) <= set(wrong)


def test_a_kind_of_fake_left_out_is_scored_alone_by_a_detector_that_never_saw_it(
    prepared, tmp_path, run_here
):
    project = Path(shutil.copytree(prepared, tmp_path / "project"))
    add_study(project, "unknown", {
        "split": STUDY["split"], "training": {"epochs": 1}, "all": {},
        "without": {"split": {"leave_out": "fake_deepfake"}},
    })  # fmt: skip
    run_here(project, "unknown")
    output = project / "data/demo/07_model_output/studies/unknown"
    ours, whole = (
        pd.read_csv(latest(output, f"{run}/predictions.csv")).query("subset == 'test'")
        for run in ("without", "all")
    )
    assert set(ours["class_name"]) == {"real", "fake_deepfake"}
    # the same images as with all kinds in training
    assert set(ours["path"]) == set(whole.query("class_name != 'fake_face2face'")["path"])
    index = pd.read_parquet(latest(project, "data/demo/02_intermediate/image_index.parquet"))
    models = project / "data/demo/06_models/studies/unknown"
    detector = Detector.load(latest(models, "without/detector.safetensors"))
    used = unpack_hashes(detector.trained_on) | unpack_hashes(detector.validated_on)
    seen = index[index["sha256"].isin(used)]
    assert set(seen["class_name"]) == {"real", "fake_face2face"}
    assert not set(seen["group"]) & set(ours["group"])
    assert detector.card.split["leave_out"]["class"] == "fake_deepfake"
    report = project / "data/demo/08_reporting/studies/unknown"
    kinds = pd.read_csv(latest(report, "kinds.csv")).set_index(["row", "class_name"])
    assert kinds["left_out"].to_dict() == {
        ("all", "fake_deepfake"): False, ("all", "fake_face2face"): False,
        ("without", "fake_deepfake"): True,
    }  # fmt: skip
    fakes = ours[ours["label"] == 1]
    recall = kinds.at[("without", "fake_deepfake"), "recall"]
    assert recall == pytest.approx((fakes["predicted"] == 1).mean())
    assert json.loads(latest(report, "choice.json").read_text())["chosen"] == "all"


def test_a_cumulative_study_compares_each_row_with_the_one_before(prepared, tmp_path, run_here):
    project = Path(shutil.copytree(prepared, tmp_path / "project"))
    change_yaml(
        project / "conf/demo/parameters.yml",
        recipes={"decayed": {"training": {"optimizer": {"weight_decay": 0.5}}}},
    )
    block = {
        "cumulative": True, "folds": 3, "training": {"epochs": 1},
        "start": {"recipe": "reference"}, "decay": {"recipe": "decayed"},
        "still": {"training": {"augmentation": {"flip": 0}}},
    }  # fmt: skip
    add_study(project, "steps_of", block)
    run_here(project, "steps_of", part={"to_outputs": ["steps_of.steps", "steps_of.page"]})
    report = project / "data/demo/08_reporting/studies/steps_of"
    steps = pd.read_csv(latest(report, "steps.csv")).set_index(["row", "metric"])
    scored = pd.read_csv(
        latest(project, "data/demo/07_model_output/studies/steps_of/predictions.csv")
    ).query("subset == 'test'")
    right = scored["label"] == scored["predicted"]
    accuracy = right.groupby(scored["row"]).mean()
    assert scored.groupby("row")["path"].nunique().nunique() == 1
    for row, before in (("decay", "start"), ("still", "decay")):
        difference = steps.at[(row, "accuracy"), "difference"]
        assert difference == pytest.approx(accuracy[row] - accuracy[before])
    assert (steps["seconds_per_epoch"] > 0).all()
    decay = table_of(project, "steps_of")["training.optimizer.weight_decay"]
    assert sorted(decay) == [0.0] * 3 + [0.5] * 6
    assert latest(report, "steps_figure.png").read_bytes().startswith(b"\x89PNG")
    assert 'id="steps"' in latest(report, "page.html").read_text()


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"one": {"trainng": {}}}, r"'mine\.one\.trainng'"),
        ({"one": {"model": "resnet19"}}, r"mine\.one: .*'resnet19'"),
        (
            {"one": {"model": "alexnet", "backbones": {"alexnet": {"crop": 32}}}},
            r"mine\.one: .*32×32",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_named_before_anything_runs(block, said, tmp_path, run_here):
    project = make_project(tmp_path / "project")
    add_study(project, "mine", block)
    with pytest.raises(UserError, match=said):
        run_here(project, "mine")
    assert not (project / "data/demo").exists()


def test_a_mistyped_row_on_the_command_line_is_named(studied, run_here):
    with pytest.raises(UserError, match=r"'plane'.*'plain'"):
        run_here(studied, "mine", mine={"plane": {"training": {"epochs": 1}}})
