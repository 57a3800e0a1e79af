import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from page_elements import Elements
from page_in_browser import BROWSER, HARMLESS, show_on_a_phone
from study_samples import SPLIT, comparison, fine_tuning, folds, schedules

from deepfake_detection.pipelines.studies.page import render_study
from deepfake_detection.pipelines.studies.results import StudyResults
from deepfake_detection.pipelines.studies.wording import (
    adopt_command,
    pick_cards,
    say_inflation,
    weigh_trust,
    write_verdict,
)

HOSTILE = "<script>ran = 1</script><img src=x onerror=ran=1>" + "x" * 150


def named(results: StudyResults, title: str) -> StudyResults:
    """The results with this title, note, heading, name of a setting and split."""
    results.table["title"] = [f"{title}{place}" for place in range(len(results.table))]
    return dataclasses.replace(
        results,
        heading=f"heading {title}",
        notes=(f"note {title}",),
        split_in_words=f"split {title}",
        choice={**results.choice, "title": f"{title}0", "ruled_out": [f"out {title}"]},
        settings={title: {title: title}},
    )


@pytest.fixture(scope="module")
def three_rows() -> StudyResults:
    return fine_tuning(epochs=2, rows=3)


@pytest.fixture(scope="module")
def page(three_rows: StudyResults) -> Elements:
    noted = dataclasses.replace(three_rows, notes=("These are generated faces.", "A stand-in."))
    return Elements(render_study(noted))


@pytest.fixture(scope="module")
def hostile() -> str:
    return render_study(named(schedules(epochs=2, titles={"a": "a"}), HOSTILE))


@pytest.fixture(scope="module")
def compared() -> StudyResults:
    return comparison(epochs=1, seeds=2, backbones=("resnet18", "vgg16"), ratios=("80",))


@pytest.fixture(scope="module")
def compared_page(compared: StudyResults) -> Elements:
    return Elements(render_study(compared))


def test_a_page_without_a_script_admits_none(page: Elements):
    (policy,) = [text for text in page.values("meta", "content") if "default-src" in text]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "script" not in page.names


def test_page_is_single_document_that_needs_nothing_else(page: Elements):
    assert page.names.count("title") == page.names.count("h1") == 1
    assert not {"script", "link", "iframe", "object", "svg"} & set(page.names)
    (policy,) = [v for t, n, v in page.attributes if (t, n) == ("meta", "content") and "src" in v]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all(source.startswith("data:image/svg") for source in page.values("img", "src"))
    ids = {value for _, name, value in page.attributes if name == "id"}
    assert {target[1:] for target in page.values("a", "href")} <= ids
    assert all(page.values("img", "alt"))
    classes = page.values("img", "class")
    assert classes.count("on-light") == classes.count("on-dark") == 4


def test_names_notes_and_settings_are_shown_as_text(hostile: str):
    elements = Elements(hostile)
    assert "script" not in elements.names
    assert "onerror" not in {name for _, name, _ in elements.attributes}
    for said in ("heading", "note", "split", "out"):
        assert f"{said} {HOSTILE}" in elements.words
    assert f"{HOSTILE}0" in elements.words


@pytest.mark.skipif(BROWSER is None, reason="no browser is installed")
def test_page_fits_a_phone_and_runs_nothing(hostile: str, tmp_path: Path):
    assert show_on_a_phone(hostile, tmp_path) == HARMLESS


def test_notes_stand_before_any_score_and_the_split_over_the_table(page: Elements):
    words = page.words
    assert words.index("These are generated faces.") < words.index("Chosen:")
    assert words.index("A stand-in.") < words.index("Chosen:")
    assert "Runs: individual split, 80 : 20, seed 0" in words
    before_rows = words[: words.index("Weight decay")]
    assert before_rows.endswith("individual split, 80 : 20, seed 0 Row ")


def test_every_run_stands_there_with_its_settings_scores_and_origin(
    page: Elements, three_rows: StudyResults
):
    for _, run in three_rows.table.iterrows():
        row = page.words[page.words.index(f"{run['title']} ", page.words.index("Weight decay")) :]
        published = f"{run['published_validation_accuracy']:.4f}"
        assert f"{run['best_validation_accuracy']:.4f}" in row
        assert f"{run['accuracy_low']:.4f} to {run['accuracy_high']:.4f}" in row
        assert published in row
        assert f"{run['training.optimizer.weight_decay']:g}" in row
        assert run["run_fingerprint"][:12] in page.words
    assert SPLIT[:12] in page.words
    assert SPLIT[:13] not in page.words
    assert "training.optimizer.weight_decay" in page.values("th", "title")
    assert "training.optimizer.weight_decay" not in page.words
    assert "batch_size 64" in page.words


def test_verdict_says_what_was_compared_what_is_chosen_and_what_it_is_worth(
    three_rows: StudyResults,
):
    compared, chosen, caution = write_verdict(three_rows)
    assert compared == (
        "3 rows of inception_v3, one run each. Trained and scored on: individual split, 80 : 20, "
        "seed 0."
    )
    row = three_rows.table[three_rows.table["row"] == three_rows.choice["chosen"]].iloc[0]
    assert chosen.startswith(
        f"Chosen: {row['title']}, best validation accuracy {row['best_validation_accuracy']:.4f} "
        f"at epoch {row['best_epoch']}."
    )
    assert three_rows.choice["rule"] in chosen
    assert "inflates" in caution
    assert "upper end" in caution
    headings = [statement.heading for statement in weigh_trust(three_rows)]
    assert "Scores of an individual split are inflated" in headings
    assert "One run each: the spread of training is unknown" in headings


def test_group_split_with_a_test_subset_is_not_warned_of():
    results = fine_tuning(epochs=2, seeds=2, rows=2, subset="test")
    results.table["split_method"] = "group"
    assert [statement.tone for statement in weigh_trust(results)] == ["plain", "plain"]
    assert "inflates" not in write_verdict(results)[2]
    # the accuracy on test stands in the verdict and on a card
    runs = results.table[results.table["row"] == results.choice["chosen"]]
    assert f"accuracy on test {runs['accuracy'].mean():.4f}" in write_verdict(results)[1]
    assert "Chosen: accuracy on test" in [card.name for card in pick_cards(results)]


def test_where_nothing_is_chosen_the_verdict_says_why_and_there_is_no_command():
    results = fine_tuning(epochs=1, rows=2)
    reason = "every run is above 0.99"
    none = dataclasses.replace(
        results,
        choice={**results.choice, "chosen": None, "title": None, "reason": reason},
    )
    assert "No row is chosen. Every run is above 0.99." in write_verdict(none)[1]
    assert adopt_command(none) == ""
    assert pick_cards(none)[0].value == "–"


def test_chosen_row_is_marked_and_can_be_taken(page: Elements, compared_page: Elements):
    chosen_rows = [value for value in page.values("tr", "class") if value == "best"]
    assert len(chosen_rows) == 1
    assert "kedro run --pipelines fine_tuning --params fine_tuning.adopt=true" in page.words
    # where backbones differ, the command names the chosen one
    assert "--params comparison.adopt=true,model=resnet18" in compared_page.words


def test_spread_over_seeds_lists_mean_deviation_range_and_every_run(
    compared: StudyResults, compared_page: Elements
):
    summary = compared.summary
    for _, row in summary[summary["metric"] == "best_validation_accuracy"].iterrows():
        assert f"{row['mean']:.4f} ± {row['standard_deviation']:.4f}" in compared_page.words
        assert f"{row['lowest']:.4f} to {row['highest']:.4f}" in compared_page.words
    for _, run in compared.table.iterrows():
        assert f"{run['seed']}: {run['best_validation_accuracy']:.4f}" in compared_page.words
        assert f"{run['seed']}: {run['accuracy']:.4f}" in compared_page.words
        assert run["run"] in compared_page.words


def test_grid_shows_its_axes_and_no_setting_that_they_tell(compared_page: Elements):
    words = compared_page.words
    assert "Row Seed Backbone Ratio Method Best validation accuracy" in words
    assert "resnet18 80 : 20 individual split" in words
    assert "Train share" not in words


def test_inflation_is_told_with_its_spread_or_that_it_is_unknown(
    compared: StudyResults, compared_page: Elements
):
    pair = compared.inflation.iloc[0]
    words = compared_page.words
    assert f"{pair['inflation']:+.4f} ± 0.0110" in words
    assert "two different sets of images" in words
    assert "the spread is that of training over 2 seeds" in words
    once = dataclasses.replace(compared, inflation=compared.inflation.assign(runs=1))
    assert "--params comparison.seeds=[0,1,2] shows it" in say_inflation(once)


def test_folds_are_pooled():
    results = folds(epochs=1, number=2)
    words = Elements(render_study(results)).words
    pooled = results.summary.set_index("metric").loc["accuracy"]
    assert f"{pooled['pooled']:.4f}{pooled['pooled_low']:.4f} to" in words
    assert "out-of-fold predictions" in words
    assert "Row Fold Best validation accuracy" in words
    assert "Validation chose the epoch and" not in words


def test_undefined_scores_and_settings_of_any_type_make_the_same_page_each_time():
    results = schedules(epochs=1, titles={"a": "a", "b": "b"})
    for history in results.histories.values():
        history[[name for name in history if name != "epoch"]] = np.nan
    table = results.table
    table[table.select_dtypes("float").columns] = np.nan
    table["training.optimizer.betas"] = [[0.9, 0.999], [0.8, 0.99]]
    table["training.early_stopping.patience"] = pd.Series([None, 3], dtype=object)
    table["a.setting.without.words"] = [True, {"x": 1}]
    page = render_study(results)
    assert render_study(results) == page
    words = Elements(page).words
    assert "0.8, 0.99" in words
    assert "A.setting.without.words" not in words
    assert "a.setting.without.words" in words
    assert "nan" not in re.sub(r"[a-z]*nan[a-z]+", "", words)
