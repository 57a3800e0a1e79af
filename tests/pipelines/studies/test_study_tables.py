"""What the runs of a study give: tables, summary, inflation and choice."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_samples import BASE, make_history, make_metric_table, make_metrics, make_study

from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.pipelines.studies.choice import choose_row, say_choice, say_use
from deepfake_detection.pipelines.studies.tables import (
    compare_split_methods,
    describe_history,
    read_text,
    summarise_rows,
    tabulate_kinds,
    tabulate_runs,
)

EVALUATION = EvaluationParameters.model_validate(BASE["evaluation"])
METHODS = {"group": {}, "individual": {"split": {"method": "individual"}}}


def make_table(study, accuracies, *, threshold=0.5, scored=None, area=0.9):
    """The table of runs with these best validation accuracies; `scored` is the metrics' own."""
    trained, metrics, tables = describe_history(make_history(2, 0.8)), {}, {}
    for name, value in accuracies.items():
        card = trained | {"best_validation_accuracy": value}
        metrics[name] = make_metrics(study, name, card, threshold)
        tables[name] = make_metric_table({"validation": (scored or value, area)})
    return tabulate_runs(study, metrics, tables)


def choose(block, accuracies):
    study = make_study(block)
    return choose_row(study, make_table(study, dict(zip(study.runs, accuracies, strict=True))))


def test_the_table_names_the_settings_in_which_runs_differ_and_no_others():
    two = {"training": {"optimizer": {"lr": 0.5, "betas": [0.5, 0.9]}}, "model": "vgg16"}
    study = make_study({"one": {"published": {"best_epoch": 7}}, "two": two})
    table = make_table(study, {"one": 0.8, "two": 0.9}).set_index("run")
    row = table.loc["two"]
    # vgg16 has other sizes too
    assert [name for name in table if "." in name] == [
        "training.optimizer.lr", "training.optimizer.betas", "preprocessing.resize",
        "preprocessing.crop",
    ]  # fmt: skip
    assert row["training.optimizer.lr"] == 0.5
    assert row["training.optimizer.betas"] == "0.5, 0.9"
    assert row["model"] == "vgg16"
    assert list(table["split_ratios"].unique()) == ["80 : 20"]
    assert table.at["one", "published_best_epoch"] == 7
    # by image, not by source
    assert list(table["accuracy"]) == [0.8, 0.9]


def test_scores_and_intervals_are_those_of_the_validation_metrics():
    study = make_study({"one": {}})
    # one image of 1,000 differs between training in bf16 and scoring in fp32
    table = make_table(study, {"one": 0.9}, scored=0.901).iloc[0]
    assert table["best_validation_accuracy_low"] == pytest.approx(0.901 - 0.012)
    assert table["best_validation_accuracy_high"] == pytest.approx(0.901 + 0.006)
    # another threshold gives another accuracy than the one that chose the epoch
    fitted = make_table(study, {"one": 0.9}, threshold=0.3).iloc[0]
    assert np.isnan(fitted["best_validation_accuracy_low"])
    assert fitted["accuracy_low"] == pytest.approx(0.9 - 0.012)
    # an undefined score is missing
    table = make_table(study, {"one": 0.9}, area=np.nan)
    assert np.isnan(table.at[0, "roc_auc"])
    summary = summarise_rows(study, table).set_index("metric")
    assert np.isnan(summary.at["roc_auc", "mean"])
    assert summary.at["roc_auc", "runs"] == 0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_a_row_is_summarised_over_its_seeds(accuracies):
    study = make_study({"seeds": list(range(len(accuracies))), "one": {}})
    table = make_table(study, dict(zip(study.runs, accuracies, strict=True)))
    line = summarise_rows(study, table).set_index("metric").loc["accuracy"]
    assert line["mean"] == pytest.approx(np.mean(accuracies))
    assert line["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-9)
    assert (line["lowest"], line["highest"]) == (min(accuracies), max(accuracies))
    assert line["runs"] == len(accuracies)
    assert np.isnan(line["all_folds"])


def test_text_of_a_table_survives_its_file():
    study = make_study({"grid": {"rate": {"1e-3": {"training": {"epochs": 3}}, "001": {}}}})
    table = make_table(study, dict.fromkeys(study.runs, 0.5)).assign(verdict="")
    read = read_text(study, table.replace("", np.nan).assign(title=1.0, **{"axis.rate": 0.001}))
    assert list(read["title"]) == list(read["axis.rate"]) == ["1e-3", "001"]
    assert list(read["verdict"]) == ["", ""]


def test_rows_that_differ_only_in_the_split_method_show_its_inflation():
    grid = {"backbone": {"a": {"model": "resnet18"}, "b": {"model": "vgg16"}}, "method": METHODS}
    study = make_study({"seeds": [1, 2], "grid": grid, "a_group": {"training": {"epochs": 3}}})
    accuracies = dict.fromkeys(study.runs, 0.5) | {
        "b_individual.seed_1": 0.9, "b_individual.seed_2": 0.8,
        "b_group.seed_1": 0.7, "b_group.seed_2": 0.65,
    }  # fmt: skip
    inflation = compare_split_methods(study, make_table(study, accuracies))
    # the rows of the other backbone differ in their epochs as well
    assert list(inflation["title"].unique()) == ["vgg16, 80 : 20"]
    line = inflation.set_index("metric").loc["validation accuracy"]
    assert line["inflation"] == pytest.approx(((0.9 - 0.7) + (0.8 - 0.65)) / 2)
    assert line["standard_deviation"] == pytest.approx(np.std([0.2, 0.15], ddof=1))
    assert line["runs"] == 2


@settings(deadline=None, max_examples=50)
@given(
    accuracies=st.lists(st.sampled_from([0.5, 0.8, 0.9, 0.99, 1.0]), min_size=1, max_size=6),
    limit=st.sampled_from([None, 0.85, 0.99]),
)
def test_the_best_row_that_is_not_overfit_is_chosen(accuracies, limit):
    rows = {f"row{number}": {} for number in range(len(accuracies))}
    choice = choose({"overfit_above": limit} | rows, accuracies)
    values = dict(zip(rows, accuracies, strict=True))
    left = {name: value for name, value in values.items() if limit is None or value <= limit}
    assert len(choice["ruled_out"]) == len(rows) - len(left)
    if not left:
        assert choice["chosen"] is choice["run"] is choice["use"] is None
        assert say_use(choice["use"], "demo") == ""
        assert "mine.overfit_above" in say_choice(choice)[1]
        return
    best = [name for name in left if left[name] == max(left.values())]
    assert [choice["chosen"], *choice["tied_with"]] == best
    verdicts = choice["verdicts"]
    assert verdicts[choice["chosen"]] == "chosen"
    assert {name for name, verdict in verdicts.items() if verdict == "tied"} == set(best[1:])


def test_a_tie_and_overlapping_intervals_are_told():
    # intervals reach from 0.012 below to 0.006 above
    rows = {"a": {"title": "A"}, "b": {"title": "B"}, "c": {}, "d": {}}
    choice = choose(rows, [0.8278, 0.8278, 0.82, 0.8])
    assert (choice["chosen"], choice["tied_with"], choice["overlapping"]) == ("a", ["b"], ["c"])
    assert "A, B" in choice["reason"]
    alone = choose({"a": {}, "b": {}}, [0.9, 0.8])
    assert alone["tied_with"] == alone["overlapping"] == []


def make_predictions(study, right):
    """Predictions of 200 validation images, of which each run has a share right."""
    runs = []
    for name, share in right.items():
        labels = np.arange(200) % 2
        predicted = np.where(np.arange(200) < 200 * share, labels, 1 - labels)
        runs.append(pd.DataFrame({
            "run": name, "subset": "validation", "path": [f"{at}.png" for at in range(200)],
            "label": labels, "class_name": np.where(labels, "fake", "real"), "source": range(200),
            "group": range(200), "logit": np.where(predicted, 1.0, -1.0),
            "fake_probability": np.where(predicted, 0.7, 0.3), "predicted": predicted,
        }))  # fmt: skip
    return pd.concat(runs, ignore_index=True)


@pytest.mark.parametrize(("second", "clear"), [(0.6, True), (0.89, False)])
def test_the_next_row_is_compared_image_by_image(second, clear):
    study = make_study({"a": {}, "b": {}, "c": {}})
    right = {"a": second, "b": 0.9, "c": 0.5}
    table, predictions = make_table(study, right), make_predictions(study, right)
    choice = choose_row(study, table, predictions, EVALUATION)
    other = "b" if choice["chosen"] == "a" else "a"
    after = choice["runner_up"]
    assert after["row"] == other
    assert after["difference"] == pytest.approx(0.9 - second)
    assert after["low"] <= after["difference"] <= after["high"]
    assert (after["low"] > 0) == clear
    assert ("no clear winner" not in choice["reason"]) == clear


def test_an_inflated_row_is_never_chosen_over_a_grouped_one():
    choice = choose({"grid": {"method": METHODS}}, [0.7, 0.98])
    assert choice["chosen"] == "group"
    assert "0.9800" in choice["reason"]


def test_the_choice_says_how_its_best_run_is_used():
    choice = choose({"seeds": [3, 4], "one": {"model": "vgg16"}}, [0.8, 0.9])
    use = "run=studies/mine/one.seed_4,run_split=studies/mine/split_group_80_20"
    assert (choice["run"], choice["model"], choice["use"]) == ("one.seed_4", "vgg16", use)
    assert say_use(use, None).endswith(f" --params {use}")
    assert "--env" not in say_use(use, None)
    assert say_use(use, "demo").startswith("kedro run --env demo --pipelines ")
    # the detector of a fold was trained on a part of the images only
    assert choose({"folds": 3, "one": {}}, [0.8, 0.9, 0.7])["use"] is None


def history(validation, train):
    columns = {"train_accuracy": train, "validation_accuracy": validation, "seconds": 1.0}
    return pd.DataFrame({"epoch": range(1, len(train) + 1)} | columns)


def test_a_history_in_numbers():
    described = describe_history(history([0.5, 0.9, 0.7, 0.8], [0.6, 0.7, 0.9, 1.0]))
    assert described["best_epoch"] == 2
    assert described["train_accuracy"] == 0.7
    assert described["fall_after_best"] == pytest.approx(0.1)
    # the second half: epochs 3 and 4
    assert described["accuracy_gap"] == pytest.approx((0.2 + 0.2) / 2)
    assert described["roughness"] == pytest.approx((0.2 + 0.1) / 2)
    assert describe_history(history([0.5], [0.6]))["roughness"] is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(-0.2, 0.2))
def test_a_constant_gap_is_the_gap_whatever_the_curve(curve, gap):
    described = describe_history(history(curve, [value + gap for value in curve]))
    assert described["accuracy_gap"] == pytest.approx(gap, abs=1e-9)
    assert described["best_validation_accuracy"] == max(curve)
    assert described["fall_after_best"] >= 0


LEFT_OUT = {
    "split": {"ratios": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "all": {"title": "All kinds"},
    "without_a": {"split": {"leave_out": "a"}},
    "without_b": {"split": {"leave_out": "b"}},
}


def test_each_kind_has_its_own_scores_and_says_whether_it_was_in_training():
    study = make_study(LEFT_OUT)
    scores = {
        ("all", "a"): 0.9,
        ("all", "b"): 0.95,
        ("without_a", "a"): 0.6,
        ("without_b", "b"): 0.7,
    }

    def table(run):
        return pd.DataFrame(
            [
                {"metric": metric, "subset": subset, "level": level, "class_name": kind,
                 "value": value - lower, "low": value - 0.2, "high": value + 0.01, "n": 50}
                for (name, kind), score in scores.items() if name == run
                for metric, lower in (("recall_of_kind", 0.0), ("roc_auc_of_kind", 0.05))
                for subset, level, value in (
                    ("validation", "image", 0.1), ("test", "image", score), ("test", "source", 0.2),
                )
            ]
            + [{"metric": "accuracy", "subset": "test", "level": "image", "class_name": None,
                "value": 0.5}]
        )  # fmt: skip

    kinds = tabulate_kinds(study, **{f"metric_table:{run}": table(run) for run in study.runs})
    assert kinds.set_index(["row", "class_name"])["recall"].to_dict() == scores
    assert kinds["roc_auc"].tolist() == pytest.approx([each - 0.05 for each in scores.values()])
    assert kinds["left_out"].tolist() == [False, False, True, True]
    assert kinds["recall_low"].tolist() == pytest.approx([each - 0.2 for each in scores.values()])
    assert kinds["title"].tolist() == ["All kinds", "All kinds", "without_a", "without_b"]
    assert set(kinds["n"]) == {50}


def test_a_row_that_leaves_a_class_out_is_not_chosen():
    choice = choose(LEFT_OUT, [0.8, 0.95, 0.99])
    assert choice["chosen"] == "all"
    assert choice["overlapping"] == []
    nothing = choose(LEFT_OUT | {"all": None}, [0.95, 0.99])
    assert nothing["chosen"] is nothing["use"] is None
    assert nothing["reason"]
