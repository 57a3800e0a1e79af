"""What a study's runs come to: tables, summary, inflation and choice."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deepfake_detection.training.run_store import KeptTrainings
from hypothesis import given
from hypothesis import strategies as st
from test_plan import BASE

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import StudyParameters
from deepfake_detection.pipelines.studies.choice import choose_row
from deepfake_detection.pipelines.studies.curves import describe_history
from deepfake_detection.pipelines.studies.nodes import adopt_chosen
from deepfake_detection.pipelines.studies.plan import plan_studies
from deepfake_detection.pipelines.studies.tables import (
    compare_split_methods,
    summarise_rows,
    tabulate_runs,
)

METHODS = {"group": {}, "individual": {"split": {"method": "individual"}}}


def make_study(block: dict[str, Any]) -> StudyParameters:
    parameters = copy.deepcopy(BASE) | {"studies": {"mine": "My own"}, "mine": block}
    return plan_studies(parameters)[1][0]


def make_metrics(study: StudyParameters, name: str, accuracy: float) -> dict[str, Any]:
    run = study.runs[name]
    return {
        "split": {
            "method": run.split.method, "ratios": run.split.shares.model_dump(),
            "seed": run.split.seed, "fingerprint": f"split of {run.split.name}",
        },
        "trained": {
            "epochs": 2, "best_epoch": 1, "best_validation_accuracy": accuracy,
            "train_accuracy": 1.0, "accuracy_gap": 0.1, "roughness": 0.0, "fall_after_best": 0.0,
            "seconds": 1.0,
        },
        "computed_on": {"device": "cpu"},
        "run_fingerprint": f"run of {name}",
    }  # fmt: skip


def make_metric_table(accuracy: float, area: float) -> pd.DataFrame:
    figures = {
        ("accuracy", "image"): accuracy, ("roc_auc", "image"): area,
        # at the other level: not the table's
        ("accuracy", "source"): 0.123, ("roc_auc", "source"): 0.123,
    }  # fmt: skip
    return pd.DataFrame(
        [
            {"metric": metric, "subset": "validation", "level": level, "class_name": None,
             "value": value, "low": value - 0.1, "high": value + 0.1}
            for (metric, level), value in figures.items()
        ]
    )  # fmt: skip


def make_table(study: StudyParameters, accuracies: dict[str, float]) -> pd.DataFrame:
    return tabulate_runs(
        study,
        {name: make_metrics(study, name, value) for name, value in accuracies.items()},
        {name: make_metric_table(value, value) for name, value in accuracies.items()},
    )


def test_the_table_names_the_settings_in_which_runs_differ_and_no_others() -> None:
    study = make_study(
        {
            "one": {},
            "two": {"training": {"optimizer": {"lr": 0.5, "betas": [0.5, 0.9]}}, "model": "vgg16"},
        }
    )
    table = make_table(study, {"one": 0.8, "two": 0.9}).set_index("run")
    settings = [name for name in table if "." in name]
    # vgg16 has other sizes too
    assert settings == [
        "training.optimizer.lr", "training.optimizer.betas", "preprocessing.resize",
        "preprocessing.crop",
    ]  # fmt: skip
    assert table.at["two", "training.optimizer.lr"] == 0.5
    assert table.at["two", "training.optimizer.betas"] == "0.5, 0.9"
    assert table.at["two", "model"] == "vgg16"
    assert list(table["split_ratios"].unique()) == ["80 : 20"]


def test_an_undefined_score_is_missing_and_not_a_number_made_up() -> None:
    study = make_study({"one": {}})
    undefined = make_metric_table(0.9, float("nan"))
    table = tabulate_runs(study, {"one": make_metrics(study, "one", 0.9)}, {"one": undefined})
    assert np.isnan(table.at[0, "roc_auc"])
    summary = summarise_rows(study, table).set_index("metric")
    assert np.isnan(summary.at["roc_auc", "mean"])
    assert summary.at["roc_auc", "runs"] == 0


@given(st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_a_row_is_summarised_over_its_seeds(accuracies: list[float]) -> None:
    study = make_study({"seeds": list(range(len(accuracies))), "one": {}})
    table = make_table(study, dict(zip(study.runs, accuracies, strict=True)))
    line = summarise_rows(study, table).set_index("metric").loc["accuracy"]
    assert line["mean"] == pytest.approx(np.mean(accuracies))
    assert line["standard_deviation"] == pytest.approx(np.std(accuracies, ddof=1), abs=1e-9)
    assert (line["lowest"], line["highest"]) == (min(accuracies), max(accuracies))
    assert line["runs"] == len(accuracies)


def test_rows_that_differ_in_the_split_method_alone_show_its_inflation() -> None:
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


@given(
    accuracies=st.lists(st.sampled_from([0.5, 0.8, 0.9, 0.99, 1.0]), min_size=1, max_size=6),
    limit=st.sampled_from([None, 0.85, 0.99]),
)
def test_the_best_row_that_is_not_overfit_is_chosen(
    accuracies: list[float], limit: float | None
) -> None:
    names = [f"row{number}" for number in range(len(accuracies))]
    study = make_study({"overfit_above": limit} | {name: {} for name in names})
    choice = choose_row(study, make_table(study, dict(zip(names, accuracies, strict=True))))
    left = {
        name: value
        for name, value in zip(names, accuracies, strict=True)
        if limit is None or value <= limit
    }
    assert len(choice["ruled_out"]) == len(names) - len(left)
    if not left:
        assert choice["chosen"] is None
        assert f"above {limit:g}" in choice["reason"]
        return
    # the first of several that are equal
    assert choice["chosen"] == next(name for name in left if left[name] == max(left.values()))
    assert choice["verdicts"][choice["chosen"]] == "chosen"


def test_an_inflated_row_is_never_chosen_over_an_honest_one() -> None:
    study = make_study({"grid": {"method": METHODS}})
    choice = choose_row(study, make_table(study, {"group": 0.7, "individual": 0.98}))
    assert choice["chosen"] == "group"
    assert "individual with 0.9800, which is inflated" in choice["reason"]


def test_where_nothing_is_chosen_nothing_can_be_adopted() -> None:
    study = make_study({"overfit_above": 0.5, "one": {}})
    choice = choose_row(study, make_table(study, {"one": 0.9}))
    with pytest.raises(UserError, match=r"every row is above 0\.5.*mine\.overfit_above"):
        adopt_chosen(study, choice, "resnet18", KeptTrainings(Path("none")))


def test_a_chosen_run_of_another_backbone_says_how_to_take_it() -> None:
    study = make_study({"one": {"model": "vgg16"}})
    choice = choose_row(study, make_table(study, {"one": 0.9}))
    with pytest.raises(UserError, match=r"mine\.adopt=true,model=vgg16"):
        adopt_chosen(study, choice, "resnet18", KeptTrainings(Path("none")))


def history(validation: list[float], train: list[float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "epoch": range(1, len(train) + 1),
            "train_accuracy": train,
            "validation_accuracy": validation,
            "seconds": 1.0,
        }
    )


def test_curves_in_figures() -> None:
    described = describe_history(history([0.5, 0.9, 0.7, 0.8], [0.6, 0.7, 0.9, 1.0]))
    assert described["best_epoch"] == 2
    assert described["train_accuracy"] == 0.7
    assert described["fall_after_best"] == pytest.approx(0.1)
    # the second half: epochs 3 and 4
    assert described["accuracy_gap"] == pytest.approx((0.2 + 0.2) / 2)
    assert described["roughness"] == pytest.approx((0.2 + 0.1) / 2)
    assert describe_history(history([0.5], [0.6]))["roughness"] is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(-0.2, 0.2))
def test_a_steady_gap_is_the_gap_whatever_the_curve(curve: list[float], gap: float) -> None:
    described = describe_history(history(curve, [value + gap for value in curve]))
    assert described["accuracy_gap"] == pytest.approx(gap, abs=1e-9)
    assert described["best_validation_accuracy"] == max(curve)
    assert described["fall_after_best"] >= 0
