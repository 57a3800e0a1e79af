"""What each row of a cumulative study adds to the row before it."""

import numpy as np
import pandas as pd
import pytest
from page_elements import words_in
from sklearn.metrics import roc_auc_score
from study_samples import BASE, make_history, make_study
from test_study_figures import points

from deepfake_detection.metrics.differences import measure_differences
from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.pipelines.studies.elsewhere import compare_steps_elsewhere
from deepfake_detection.pipelines.studies.scores import draw_steps
from deepfake_detection.pipelines.studies.steps import compare_steps

EVALUATION = EvaluationParameters.model_validate(BASE["evaluation"])
ROWS = {
    "start": {},
    "decay": {"training": {"optimizer": {"weight_decay": 0.1}}},
    "more": {"title": "More epochs", "training": {"epochs": 30}},
}
# How far the mean logits of real and fake lie apart
APART = {"start": 0.8, "decay": 1.6, "more": 1.7}


def make_predictions(study, *, images=200, scale=lambda _: 1.0, test=True):
    """Predictions of all runs: the same images in the same fold, hard for the same rows."""
    tables = []
    for place, (name, run) in enumerate(study.runs.items()):
        fold = run.split.fold.number if run.split.fold else 0
        numbers = np.arange(images)
        hard = np.random.default_rng(fold).normal(size=images)
        own = np.random.default_rng(100 + place).normal(size=images) * 0.3
        logit = hard + own + APART[run.row] * (2 * (numbers % 2) - 1)
        tables.append(
            pd.DataFrame(
                {
                    "run": name, "row": run.row,
                    "path": [f"{fold}/{number}.png" for number in numbers],
                    "class_name": np.where(numbers % 2, "fake", "real"), "label": numbers % 2,
                    "source": [f"{fold}-{number // 4}" for number in numbers],
                    "group": [f"{fold}-{number // 4}" for number in numbers],
                    "subset": "test" if test else "validation",
                    "logit": logit * scale(place), "fake_probability": 0.5,
                    "predicted": (logit >= 0).astype(int),
                }
            ).sample(frac=1, random_state=place)
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def compare(study, predictions, **seconds):
    histories = {
        f"training_history:{name}": make_history(4, 0.9).assign(seconds=seconds.get(run.row, 10.0))
        for name, run in study.runs.items()
    }
    return compare_steps(study, predictions, EVALUATION, **histories).set_index(["row", "metric"])


@pytest.fixture(scope="module")
def study():
    return make_study({"cumulative": True, "folds": 3, **ROWS})


@pytest.fixture(scope="module")
def predictions(study):
    return make_predictions(study)


@pytest.fixture(scope="module")
def steps(study, predictions):
    return compare(study, predictions, decay=15.0, more=30.0)


def accuracy_of(rows):
    return (rows["label"] == rows["predicted"]).mean()


def mean_area(rows):
    folds = rows.groupby("run")
    return np.mean([roc_auc_score(fold["label"], fold["logit"]) for _, fold in folds])


@pytest.mark.parametrize(("metric", "measure"), [("accuracy", accuracy_of), ("roc_auc", mean_area)])
def test_differences_are_those_over_all_folds(steps, predictions, metric, measure):
    values = {row: measure(rows) for row, rows in predictions.groupby("row")}
    for row, before in (("decay", "start"), ("more", "decay")):
        step = steps.loc[row, metric]
        assert step["value"] == pytest.approx(values[row])
        assert step["difference"] == pytest.approx(values[row] - values[before])
        assert step["since_first"] == pytest.approx(values[row] - values["start"])
        assert step["low"] < step["difference"] < step["high"]
        assert step["since_first_low"] < step["since_first"] < step["since_first_high"]
        assert step["n"] == 600
    # the step that helps is told from the one that hardly does
    assert steps.loc[("decay", metric), "low"] > 0
    assert steps.loc[("more", metric), "low"] < 0
    nothing = ["difference", "low", "high", "since_first", "seconds_ratio", "note"]
    assert steps.loc[("start", metric), nothing].isna().all()
    assert steps.loc[("start", metric), "value"] == pytest.approx(values["start"])


def test_the_scale_of_each_detector_plays_no_part(study, steps):
    scaled = compare(study, make_predictions(study, scale=lambda place: 0.1 + 3 * place))
    columns = ["difference", "low", "high", "since_first"]
    np.testing.assert_allclose(scaled[columns], steps[columns], atol=1e-12)


@pytest.mark.parametrize("test", [True, False])
def test_a_single_run_has_the_differences_of_paired_detectors(test):
    study = make_study({"cumulative": True, **ROWS})
    predictions = make_predictions(study, test=test)
    steps = compare(study, predictions)
    ours, others = (
        predictions[predictions["run"] == name].sort_values("path", ignore_index=True)
        for name in ("decay", "start")
    )
    for expected in measure_differences(
        ours, others, (1.0, 1.0), "test", "image", EVALUATION.confidence
    ):
        if expected.metric in ("accuracy", "roc_auc"):
            step = steps.loc["decay", expected.metric]
            ends = [expected.difference, expected.low, expected.high]
            assert step[["difference", "low", "high"]].tolist() == pytest.approx(ends)
            assert step["differing_groups"] == expected.differing_groups
            assert step["subset"] == ("test" if test else "validation")


def test_several_seeds_of_an_image_do_not_make_an_interval_narrower_than_its_groups_allow():
    one = make_study({"cumulative": True, **ROWS})
    predictions = make_predictions(one)
    single = compare(one, predictions)
    many = make_study({"cumulative": True, "seeds": [0, 1, 2], **ROWS})
    copies = [
        predictions[predictions["row"] == run.row].assign(run=name)
        for name, run in many.runs.items()
    ]
    repeated = compare(many, pd.concat(copies, ignore_index=True))
    columns = ["difference", "low", "high"]
    np.testing.assert_allclose(repeated[columns], single[columns], atol=1e-9)


def test_rows_on_different_images_and_equal_rows_have_no_interval(study, predictions):
    other = predictions.copy()
    other.loc[other["run"] == "decay.fold_2", "path"] += "x"
    equal = other["row"] == "start"
    other = pd.concat([other[other["row"] != "more"], other[equal].assign(row="more")])
    other["run"] = other["row"] + "." + other["run"].str.split(".").str[1]
    steps = compare(study, other)
    for row in ("decay", "more"):
        assert steps.loc[(row, "accuracy"), ["difference", "low"]].isna().all()
        assert steps.loc[(row, "accuracy"), "note"]
    whole = steps.loc["more", "accuracy"]
    assert whole["since_first"] == 0
    assert np.isnan(whole["since_first_low"])


def test_the_time_of_an_epoch_is_compared_with_that_of_the_row_before(steps):
    times = steps.xs("accuracy", level="metric")[["seconds_per_epoch", "seconds_ratio"]]
    assert times["seconds_per_epoch"].tolist() == [10, 15, 30]
    assert times["seconds_ratio"].tolist()[1:] == [1.5, 2]


def test_the_figure_shows_each_difference_with_its_interval_and_each_time(steps):
    figure = draw_steps(steps.reset_index())
    changes, times = figure.axes
    for (row, metric), step in steps.iterrows():
        if row != "start":
            marker = "s" if metric == "accuracy" else "o"
            assert (step["difference"], marker) in points(changes)
            assert (step["low"], step["high"], "None") in points(changes)
    assert [bar.get_width() for bar in times.patches] == [10, 15, 30]
    assert "1.50" in words_in(figure)
    assert f"{steps.loc[('start', 'roc_auc'), 'value']:.4f}" in words_in(figure)


@pytest.mark.filterwarnings("error")
def test_one_row_is_drawn(study):
    alone = make_study({"cumulative": True, "start": {}})
    steps = compare(alone, make_predictions(alone)).reset_index()
    assert len(draw_steps(steps).axes) == 2


def test_the_steps_elsewhere_are_those_of_each_set_that_all_runs_scored(study, predictions):
    external = predictions.assign(subset="external")
    # all runs score the same images, whatever fold they trained on
    external["path"] = external["path"].str.split("/").str[-1]
    partly = external[external["row"] != "more"]
    both = pd.concat([external.assign(set="whole"), partly.assign(set="partly")])
    table = compare_steps_elsewhere(study, both, EVALUATION)
    assert list(table["set"].unique()) == ["whole"]
    assert list(table["row"]) == list(ROWS)
    by_row = {row: mean_area(rows) for row, rows in external.groupby("row")}
    found = table.set_index("row")
    for row, area in by_row.items():
        assert found.loc[row, "value"] == pytest.approx(area)
    assert np.isnan(found.loc["start", "difference"])
    gain = by_row["decay"] - by_row["start"]
    assert found.loc["decay", "difference"] == pytest.approx(gain)
    assert found.loc["decay", "low"] < gain < found.loc["decay", "high"]
    assert found.loc["decay", "low"] > 0
