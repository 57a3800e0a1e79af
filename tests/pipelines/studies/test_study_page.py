import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from page_elements import Elements
from page_in_browser import HARMLESS, show_on_a_phone
from study_samples import comparison, fine_tuning, folds, make_study, run_study, schedules
from test_steps import ROWS, compare, make_predictions

from deepfake_detection.pipelines.studies.page import report_study

BEST = "best_validation_accuracy"
HOSTILE = "<script>ran = 1</script><img src=x onerror=ran=1>" + "x" * 150


def render(results, reports=()):
    """The page, from tables as they come out of their files, in which empty text is missing."""
    return report_study(
        results.study,
        results.table.replace("", np.nan),
        results.summary,
        dict(results.choice),
        dict(reports),
        results.inflation,
        results.steps,
        results.kinds,
        **{f"training_history:{run}": history for run, history in results.histories.items()},
        **{"split_summary:one": {"note": ""}},
    )["page"]


def cumulative():
    study = make_study({"cumulative": True, "folds": 3, **ROWS})
    results = run_study(study, 2, lambda place, _: 0.8 + 0.01 * place, test=True)
    steps = compare(study, make_predictions(study), more=25.0).reset_index()
    return dataclasses.replace(results, steps=steps)


def tones(elements):
    """The tone of each statement."""
    return [each.removeprefix("card ") for each in elements.values("li", "class")
            if each in ("card warning", "card plain")]  # fmt: skip


@pytest.fixture(scope="module")
def three_rows():
    return fine_tuning(epochs=2, rows=3, overfit_above=None, note="These are generated faces.")


@pytest.fixture(scope="module")
def page(three_rows):
    return Elements(render(three_rows))


@pytest.fixture(scope="module")
def compared():
    return comparison(epochs=1, seeds=[0, 1])


@pytest.fixture(scope="module")
def compared_page(compared):
    return Elements(render(compared))


@pytest.fixture(scope="module")
def hostile():
    results = schedules(epochs=2, a=HOSTILE)
    study = results.study.model_copy(update=dict.fromkeys(("heading", "note", "name"), HOSTILE))
    return render(dataclasses.replace(results, study=study))


def test_page_is_a_single_document_that_needs_nothing_else(page):
    page.check_document()
    assert "script" not in page.names
    (policy,) = [text for text in page.values("meta", "content") if "default-src" in text]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert page.names.count("figure") == page.values("svg", "role").count("img") == 4
    assert all(page.values("svg", "aria-label"))


def test_names_notes_and_titles_are_shown_as_text(hostile):
    elements = Elements(hostile)
    assert "script" not in elements.names
    assert "onerror" not in {name for _, name, _ in elements.attributes}
    # heading, note, row's title, name
    assert elements.words.count(HOSTILE) >= 4


@pytest.mark.browser
def test_page_fits_a_phone_and_runs_nothing(hostile, tmp_path):
    assert show_on_a_phone(hostile, tmp_path) == HARMLESS


def test_every_run_has_its_settings_scores_and_origin(page, three_rows):
    words = page.words
    assert words.index("These are generated faces.") < words.index("0.9")
    for _, run in three_rows.table.iterrows():
        for value in (BEST, "published_validation_accuracy", "train_accuracy"):
            assert f"{run[value]:.4f}" in words
        assert f"{run[f'{BEST}_low']:.4f} to {run[f'{BEST}_high']:.4f}" in words
        assert run["run_fingerprint"][:12] in words
        assert run["run_fingerprint"][:13] not in words
        assert f"{run['training.optimizer.weight_decay']:g}" in words
    assert "weight_decaytraining.optimizer" in words
    assert "batch_size 64" in words
    assert page.values("tr", "class").count("best") == 1
    assert three_rows.choice["use"] in words


def test_every_row_has_the_command_of_its_report_and_its_distance_from_the_reference(
    page, three_rows
):
    for _, run in three_rows.table.iterrows():
        assert f"run=studies/mine/{run['run']}," in page.words
        apart = 100 * (run[BEST] - run["published_validation_accuracy"])
        assert f"{apart:+.2f} points".replace("-", "−") in page.words
        epochs = run["best_epoch"] - run["published_best_epoch"]
        assert f"{epochs:+d} epochs".replace("-", "−") in page.words


def test_a_row_leads_to_its_report_where_there_is_one_of_its_run(three_rows):
    run = three_rows.table.iloc[1]
    there = f"{run['run']}/report.html/2026/report.html"
    elements = Elements(render(three_rows, {run["run_fingerprint"]: there, "another": "x"}))
    links = [link for link in elements.values("a", "href") if not link.startswith("#")]
    assert links == [f"../../{there}"]


def test_cards_and_statements_fit_the_study(page, compared, compared_page):
    assert tones(page) == ["warning"] * 3
    assert tones(compared_page) == ["warning", "plain", "plain", "plain"]
    tested = fine_tuning(
        epochs=2, rows=2, test=True, seeds=[0, 1], split={"method": "group"}, overfit_above=None
    )
    assert tones(Elements(render(tested))) == ["plain", "plain"]
    for column in (BEST, "accuracy"):
        assert f"{tested.chosen_runs[column].mean():.4f}" in Elements(render(tested)).words
    things = [style for style in compared_page.values("li", "style") if "accent" in style]
    assert [thing.split("--")[-1].rstrip(")") for thing in things] == [
        "validation", "test", "individual",
    ]  # fmt: skip
    inflation = compared.inflation[compared.inflation["metric"] == "validation accuracy"]
    assert f"{inflation['inflation'].mean():+.3f}" in compared_page.words


def test_where_nothing_is_chosen_there_is_no_command():
    results = fine_tuning(epochs=3, rows=2, overfit_above=0.5)
    page = render(results)
    assert results.choice["reason"][1:] in Elements(page).words
    assert 'id="use"' not in page


def test_repeated_rows_are_shown_by_their_spread_over_seeds_and_by_inflation(
    compared, compared_page
):
    words = compared_page.words.replace("\xa0", " ")
    assert "Row Seed Best validation accuracy" in words
    for _, row in compared.summary[compared.summary["metric"] == BEST].iterrows():
        assert f"{row['mean']:.4f} ± {row['standard_deviation']:.4f}" in words
        assert f"{row['lowest']:.4f} to {row['highest']:.4f}" in words
    for _, run in compared.table.iterrows():
        assert f"{run['seed']} {run[BEST]:.4f}" in words
        assert run["run"] in words
    pair = compared.inflation.iloc[0]
    assert "inflation" in compared_page.values("section", "id")
    assert f"{pair['inflation']:+.4f} {pair['standard_deviation']:.4f} 2" in words


def test_folds_are_shown_together():
    results = folds(epochs=1, number=3)
    elements = Elements(render(results))
    line = results.summary.set_index("metric").loc["accuracy"]
    assert f"{line['all_folds']:.4f}{line['all_folds_low']:.4f} to" in elements.words
    assert "Row Fold Best validation accuracy" in elements.words


def test_a_cumulative_study_begins_with_what_each_row_adds():
    results = cumulative()
    steps, page = results.steps, render(results)
    elements = Elements(page)
    assert elements.values("section", "id")[0] == "steps"
    assert page.count("<svg") == 5
    for _, step in steps[steps["row"] != "start"].iterrows():
        for value in step[["difference", "since_first", "low"]]:
            assert f"{value:+.4f}".replace("-", "−") in elements.words
        assert f"{step['seconds_per_epoch']:.3g} {step['seconds_ratio']:.2f}" in elements.words
    without = render(dataclasses.replace(results, steps=None))
    assert "steps" not in Elements(without).values("section", "id")


def test_a_study_that_leaves_classes_out_shows_each_kind():
    kinds = pd.DataFrame(
        {
            "row": ["none", "step"], "run": ["none", "step"], "title": "",
            "class_name": [HOSTILE, "swapped"], "left_out": [True, False], "n": [40, 41],
            "recall": [0.25, 0.75], "recall_low": [0.21, 0.71], "recall_high": [0.31, 0.81],
            "roc_auc": [0.55, 0.85], "roc_auc_low": [0.51, np.nan], "roc_auc_high": [0.61, np.nan],
        }
    )  # fmt: skip
    elements = Elements(render(dataclasses.replace(schedules(epochs=1), kinds=kinds)))
    assert "kinds" in elements.values("section", "id")
    assert "script" not in elements.names
    words = elements.words
    assert f"{HOSTILE} left out 0.25000.2100 to 0.3100 0.55000.5100 to 0.6100 40" in words
    assert "swapped yes 0.75000.7100 to 0.8100 0.8500 41" in words


def test_undefined_scores_and_settings_of_any_type_make_the_same_page_each_time():
    results = schedules(epochs=1, a="a", b="b")
    for history in results.histories.values():
        history[[name for name in history if name != "epoch"]] = np.nan
    table = results.table
    table[table.select_dtypes("float").columns] = np.nan
    table["training.early_stopping.patience"] = pd.Series([None, 3], dtype=object)
    table["a.setting"] = [True, {"x": 1}]
    page = render(results)
    assert render(results) == page
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", Elements(page).words)
