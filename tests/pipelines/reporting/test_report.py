import base64
import dataclasses
import hashlib
import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from explanation_samples import put_pictures
from page_elements import Elements
from page_in_browser import HARMLESS, show_on_a_phone
from PIL import Image
from reporting_samples import (
    FILES,
    FINDING,
    RUN,
    audit_leaks,
    compare_measures,
    distort,
    explain,
    list_label_issues,
    measure,
    predict,
    predict_at_random,
    trained_for,
)

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ReportingParameters
from deepfake_detection.pipelines.reporting.nodes import (
    describe_scored_detector,
    draw_figures,
    write_report,
)

HOSTILE = "<script>alert(1)</script>"
BOTH = pd.concat([predict_at_random("validation", 60), predict_at_random("test", 30, seed=1)])
# ids of sections, and of the parts of sections, that are only there if they show something
OPTIONAL = {"robustness", "error-measures", "label-issues"}
SCORED = {"errors", "scores", "calibration"}


def show(given):
    return Elements(write_report(**given))


def headline(elements):
    """All that stands before the first section."""
    return elements.words.split("How far to trust this score")[0]


def ids(elements):
    return {value for _, name, value in elements.attributes if name == "id"}


def test_names_notes_and_settings_are_shown_as_text(inputs):
    name = 'fakes/" onerror="alert(2)&' + HOSTILE.replace("/", ":") + ".png"
    rows = [(name, 1, -3.0), ("<b>x</b>/1.png", 0, 3.0), ("real/1.png", 0, -1.0)]
    given = inputs(
        predict("test", [*rows, ("fake/\u202egnp.1\n2", 1, -3.0)]),
        rejected_images=pd.DataFrame({"path": [f"real/{HOSTILE}.png"], "reason": ["<i>bad</i>"]}),
    )
    given["split_summary"]["note"] = f"<u>drawings</u> {HOSTILE}"
    # the last is a file name that is no UTF-8, as Python reads it from a folder
    settings = {HOSTILE: {"a<b>": HOSTILE}, "list": ["<em>", 'quo"te'], "folder": "caf\udce9"}
    given["description"]["settings"] = settings
    given["description"]["versions"]["<b>lib</b>"] = HOSTILE
    given["metric_table"]["note"] = HOSTILE
    page = write_report(**given)
    page.encode("utf-8")
    elements = Elements(page)
    assert not {"b", "i", "u"} & set(elements.names)
    assert elements.names.count("script") == 1
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]
    for text in (
        "<b>x</b>", "<i>bad</i>", f"<u>drawings</u> {HOSTILE}", "a<b>", '<em>, quo"te',
        "caf\\udce9", "fake/\\u202egnp.1\\n2",
    ):  # fmt: skip
        assert text in elements.words
    assert any(name[:30] in alt for alt in elements.values("img", "alt"))
    assert name in elements.values("bdi", "title")
    assert name in elements.values("li", "data-path")
    assert "&amp;amp;" not in page
    assert "\u202e" not in page


def test_only_the_pages_own_script_may_run_and_the_same_inputs_make_the_same_page(inputs):
    page = write_report(**inputs())
    assert write_report(**inputs()) == page
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policies = [each for each in Elements(page).values("meta", "content") if "default-src" in each]
    assert policies == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    ]


def draw(given, **changed):
    names = (
        "training_history", "predictions", "robustness_table", "false_case_measures",
        "description", "evaluation",
    )  # fmt: skip
    return draw_figures(**{name: given[name] for name in names} | FILES | changed)


@pytest.mark.browser
def test_page_fits_a_phone_and_runs_nothing_of_a_name(inputs, tmp_path):
    name = "<script>ran = 1<:script><img src=x onerror=ran=1>" + "x" * 80 + ".jpeg"
    hostile = predict("test", [(f"<b>fakes</b>/{name}", 1, -4.0)]).assign(source="s" * 200)
    given = inputs(pd.concat([hostile, predict_at_random("test", 60)], ignore_index=True))
    given["page_figures"] = draw(given)["page_figures"]
    # its own script is the only one
    assert show_on_a_phone(write_report(**given), tmp_path) == HARMLESS | {"scripts": 1}


def test_page_is_a_single_document_under_five_megabytes(inputs, tmp_path):
    scored = predict_at_random("test", 2400)
    # nothing weighs more than noise, and no gallery holds more than these
    scored["path"] = scored["path"].str.replace(".png", f"_{'x' * 150}.jpg")
    cases = explain(scored, of_each=120)
    issues = list_label_issues(scored)["path"].head(24)
    put_pictures(tmp_path, {*(case.path for case in cases), *issues}, (224, 224), quality=95)
    most = ReportingParameters(gallery_size=10_000, gallery_columns=6, label_issues_shown=99)
    page = write_report(**inputs(scored, explained_cases=cases, parameters=most))
    elements = Elements(page)
    # figures weigh half a megabyte
    assert len(page.encode()) < 4_500_000
    assert len(elements.values("li", "data-path")) == 400
    assert page.startswith("<!doctype html>")
    assert elements.values("html", "lang") == ["en"]
    elements.check_document()
    assert all(source.startswith("data:image/") for source in elements.values("img", "src"))
    # what stands beside words that say it has none of its own
    alts = elements.values("img", "alt")
    assert elements.names.count("img") == len(alts)
    heats, opening, distorted = elements.values("img", "class").count("heat"), 6, 3
    assert alts.count("") == heats + 1 + opening + distorted
    assert "http://" not in page
    assert "https://" not in page


def test_the_headline_is_of_test_with_its_interval(inputs):
    given = inputs(BOTH)
    table = given["metric_table"]
    accuracy = (table["metric"] == "accuracy") & (table["subset"] == "test")
    table.loc[accuracy, ["value", "low", "high"]] = [0.875, 0.8123, 0.9345]
    words = headline(show(given))
    fakes = BOTH[(BOTH["subset"] == "test") & (BOTH["label"] == 1)]
    assert f"{fakes['predicted'].sum()} of {len(fakes)} fakes" in words
    # the interval is too wide for decimals
    assert "88 %" in words
    assert "95 % CI 81 % to 93 %" in words
    # undefined: the reason
    assert "one class" in words


def test_a_note_on_the_images_and_warnings_stand_at_the_top_once(inputs):
    found = {"exact duplicate": {"train and test": {"pairs": 3, "images": 2}}}
    given = inputs(leakage_summary=audit_leaks(found))
    given["split_summary"]["note"] = "generated faces: drawings"
    elements = show(given)
    assert elements.words.count("generated faces: drawings") == 1
    assert "generated faces: drawings" in headline(elements)
    assert elements.values("p", "class").count("caution") == 1
    assert "2 images of test in train" in elements.words
    assert "caution" not in show(inputs()).values("p", "class")


@pytest.mark.parametrize("fitted", [[], ["threshold", "temperature"]])
def test_threshold_and_temperature_are_shown_with_what_validation_fitted(inputs, fitted):
    given = inputs()
    given["description"] |= {
        "threshold": 0.321, "temperature": 1.75,
        "calibration": {"fitted": fitted, "notes": ["it stops <here>"]},
    }  # fmt: skip
    words = show(given).words
    for told in ("0.321", "1.75", "it stops <here>"):
        assert told in words
    assert words.count("fitted on validation") == len(fitted)


@pytest.mark.parametrize(
    ("medium", "image", "source"),
    [("video", "frame", "video"), ("photograph", "image", "source"), (None, "image", "source")],
)
def test_frames_and_videos_are_called_so_where_sources_are_videos(inputs, medium, image, source):
    given = inputs(BOTH)
    given["description"]["split"]["medium"] = medium
    page = write_report(**given)
    heads = re.findall(r'<th scope="col">(.*?)</th>', page, re.DOTALL)
    beneath = [re.findall(r'class="beneath">(.*?)<', head) for head in heads]
    levels = [words[0] for words in beneath if words and words[0].startswith("by ")]
    # kinds of fake on test, then all metrics on test and validation
    assert (
        levels == [f"by {image}"] * 2 + [f"by {source}"] * 2 + [f"by {image}", f"by {source}"] * 2
    )
    elements = Elements(page)
    assert {"fake-kinds", "source-score"} <= {
        *elements.values("h3", "id"), *elements.values("p", "id")
    }  # fmt: skip
    sources = BOTH.loc[BOTH["subset"] == "test", "source"].nunique()
    assert f"30 {image}s of {sources} {source}s" in headline(elements)
    assert f"by {source}: " in headline(elements)


def test_a_rule_that_validation_chose_is_shown_with_what_it_was_chosen_among(inputs):
    given = inputs()
    score = {
        "rule": "top_share",
        "top_share": 0.25,
        "areas": {"mean_logit": 0.9, "top_share": 0.95},
    }
    given["description"]["calibration"] = {"source_score": score}
    sentence = re.search(r'<p id="source-score">(.*?)</p>', write_report(**given), re.DOTALL)[1]
    for told in ("25 %", "mean logit 0.9000", "top share 0.9500", "validation"):
        assert told in sentence
    given["description"]["calibration"] = {"source_score": {"rule": "mean_logit"}}
    sentence = re.search(r'<p id="source-score">(.*?)</p>', write_report(**given), re.DOTALL)[1]
    assert "validation" not in sentence


def test_one_class_and_one_epoch_that_no_validation_chose_make_a_page(inputs):
    only_fakes = predict("test", [("fake/1.png", 1, 2.0), ("fake/2.png", 1, -1.0)])
    history = trained_for(1).assign(validation_loss=np.nan, validation_accuracy=np.nan)
    given = inputs(only_fakes, training_history=history)
    given["description"] |= {"best_epoch": 1, "best_validation_accuracy": None}
    elements = show(given)
    assert "best" not in elements.values("tr", "class")
    assert "epoch 1" in elements.words
    assert "1 of 2 fakes" in elements.words
    assert "real image" not in headline(elements).split("Recall (fakes detected)")[0]


def test_nothing_scored_makes_a_page(inputs):
    given = inputs(explained_cases=[], page_figures={})
    tables = ("predictions", "metric_table", "label_issues", "robustness_table",
              "false_case_measures")  # fmt: skip
    given |= {name: given[name].head(0) for name in tables}
    elements = show(given | {"findings": {"findings": []}})
    assert "svg" not in elements.names
    assert not elements.values("li", "data-path")
    assert not (OPTIONAL | SCORED) & ids(elements)
    elements.check_document()


def test_errors_stand_by_group_and_right_verdicts_behind_them_with_picture_and_heat_map(inputs):
    scored = predict_at_random("test", 90)
    page = write_report(**inputs(scored))
    elements = Elements(page)
    wrong = scored[scored["label"] != scored["predicted"]]
    assert elements.values("li", "data-kind").count("certain fake") == 24
    kinds = ["false negative", "false positive", "certain fake", "certain real"]
    assert list(dict.fromkeys(elements.values("li", "data-kind"))) == kinds
    paths = elements.values("li", "data-path")
    assert sorted(paths[: len(wrong)]) == sorted(wrong["path"])
    # the group with the most errors first, and in it the most confident error
    missed = wrong[wrong["label"] == 1].sort_values("logit")
    counts = missed["group"].value_counts()
    first = missed[missed["group"] == missed.set_index("path")["group"][paths[0]]]
    assert len(first) == counts.iloc[0]
    assert paths[: len(first)] == first["path"].tolist()
    gallery = page.split('id="errors"')[1].split("<dialog")[0]
    jpegs = re.findall(r"data:image/jpeg;base64,([^\"]+)", gallery)
    assert len(jpegs) == elements.values("img", "class").count("heat") == len(paths)
    assert Image.open(io.BytesIO(base64.b64decode(jpegs[0]))).size == (40, 30)
    assert "--ratio:1.3333" in page
    assert "left:10.00%;top:10.00%;width:80.00%;height:80.00%" in page
    # errors that were not explained are shown all the same
    elements = show(inputs(scored, explained_cases=explain(scored, of_each=2)))
    shown = elements.values("li", "data-path")[: len(wrong)]
    assert sorted(shown) == sorted(wrong["path"])
    right = elements.values("li", "data-kind")[len(wrong) :]
    assert right == ["certain fake"] * 2 + ["certain real"] * 2
    assert elements.values("img", "class").count("heat") == 8


def test_single_errors_of_several_groups_stand_together(inputs):
    scored = predict_at_random("test", 60).assign(group=lambda rows: rows["path"])
    elements = show(inputs(scored))
    missed = ((scored["label"] == 1) & (scored["predicted"] == 0)).sum()
    assert elements.values("section", "class").count("group") == 2
    assert f"{missed} groups, one each" in elements.words


def first_pictures(elements):
    """Kinds of the pictures of the first screen."""
    numbers = [link.removeprefix("#case-") for link in elements.values("a", "href")
               if link.startswith("#case-")]  # fmt: skip
    kinds = elements.values("li", "data-kind")
    cases = [each for each in elements.values("li", "id") if each.startswith("case-")]
    return [kinds[cases.index(f"case-{number}")] for number in numbers]


def test_the_first_screen_has_three_errors_and_three_right_verdicts(inputs):
    kinds = first_pictures(show(inputs(predict_at_random("test", 90))))
    assert kinds == [
        "false negative", "false positive", "false negative",
        "certain fake", "certain real", "certain fake",
    ]  # fmt: skip
    # without an error there are six right verdicts, and nothing is missing from the page
    rows = [(f"{name}/{i}.png", label, 6.0 * label - 3) for label, name in enumerate(("real", "x"))
            for i in range(30)]  # fmt: skip
    right = show(inputs(predict("test", rows), findings={"findings": []}))
    assert first_pictures(right) == ["certain fake", "certain real"] * 3
    assert "No false negative among 30 fakes of test" in right.words
    assert "No weakness stands out" in headline(right)


def test_three_findings_stand_on_the_first_screen_with_links_to_what_they_tell(inputs):
    several = [FINDING | {"number": f"number {i}", "section": section} for i, section in
               enumerate(("robustness", "error-measures", "label-issues", "errors"))]  # fmt: skip
    page = write_report(**inputs(findings={"findings": several}))
    elements = Elements(page)
    elements.check_document()
    words = headline(elements)
    assert [f"number {i}" in words for i in range(4)] == [True, True, True, False]
    assert "It blurs <b>." in words
    opening = page.split('class="findings"')[1].split("</ol>")[0]
    assert re.findall('href="#(.*?)"', opening) == ["robustness", "error-measures", "label-issues"]


def test_a_page_has_few_words_outside_of_tables_and_folded_parts(inputs):
    left_out = re.compile(r"<(table|details|dialog).*?</\1>", re.DOTALL)
    page = left_out.sub("", write_report(**inputs(BOTH)))
    assert len(Elements(page).words.split()) < 1200


def test_pictures_that_are_missing_are_named_among_cases_and_left_out_of_label_issues(
    inputs, tmp_path
):
    scored = predict("test", [(f"fake/{i}.png", 1, -float(i)) for i in range(1, 20)])
    cases = explain(scored)
    cases[1] = dataclasses.replace(cases[1], heat=None, problem="its <file> changed")
    given = inputs(scored, explained_cases=cases)
    (tmp_path / "fake/19.png").unlink()
    (tmp_path / "fake/1.png").write_bytes(b"")
    elements = show(given)
    for told in ("fake/19.png: missing", "fake/1.png: unreadable", "its <file> changed"):
        assert told in elements.words
    assert elements.values("img", "class").count("heat") == 16
    shown = [alt for alt in elements.values("img", "alt") if alt.startswith("Labelled fake: ")]
    assert shown == [f"Labelled fake: fake/{i}.png" for i in range(18, 7, -1)]
    assert "19 images" in elements.words


def test_a_section_that_has_nothing_to_show_is_omitted(inputs):
    assert ids(show(inputs())) >= OPTIONAL | SCORED
    elements = show(
        inputs(
            predict("test", [("fake/1.png", 1, 2.0), ("real/1.png", 0, -2.0)]),
            explained_cases=[],
            robustness_table=distort(run="another"),
            false_case_measures=compare_measures(run="another"),
            training_history=trained_for(4).drop(columns="run_fingerprint"),
            findings={"findings": []},
        )
    )
    assert not OPTIONAL & ids(elements)
    contents = [each for each in elements.values("section", "id") if each]
    assert [f"#{each}" for each in contents] == elements.values("a", "href")[: len(contents)]
    # one line each says how to get it
    assert {"no-history", "no-robustness", "no-measures"} <= ids(elements)
    assert "dialog" not in elements.names


def test_tables_settings_and_files_are_shown(inputs):
    rejected = [(f"real/{i}.png", "empty file") for i in range(33)]
    given = inputs(BOTH, rejected_images=pd.DataFrame(rejected, columns=["path", "reason"]))
    elements = show(given)
    words = elements.words
    for told in (
        "JPEG quality 50 0.790.74 to 0.84 · n 60",
        "false negatives: eyes, sharpness 0.31 0.42 12 against 30 0.700.55 to 0.82 yes",
        "33 files", "real/19.png empty file", "optimizer.betas 0.9, 0.999", "torch 2.15.0", RUN,
        "kedro run --env demo", "data/demo", "c0ffee1", "0:02:12", "kedro 1.7.0",
        "50 seconds for 4 epochs",
    ):  # fmt: skip
        assert told in words
    # the first of the rejected files only
    assert "real/20.png empty file" not in words
    assert words.count("18 comparisons were made") == 1
    assert elements.values("tr", "class") == ["best"]


def test_comparisons_that_too_few_errors_allow_are_one_sentence(inputs):
    table = compare_measures().assign(differs="too few")
    elements = show(inputs(false_case_measures=table))
    assert "error-measures" in ids(elements)
    assert "too few" not in elements.words.replace("There are too few errors", "").replace(
        "come from too few groups", ""
    )


def test_each_distortion_is_shown_at_its_strongest_with_both_recalls(inputs):
    page = write_report(**inputs())
    shown = page.split('class="distorted"')[1].split("</ul>")[0]
    names = re.findall("<strong>(.*?)</strong>", shown)
    assert names == ["undistorted", "JPEG quality 10", "blurred by 2 px"]
    assert len(set(re.findall('src="(.*?)"', shown))) == 3
    assert "70\N{NO-BREAK SPACE}% fakes detected, 70\N{NO-BREAK SPACE}% real accepted" in shown


def test_tables_of_another_run_or_with_other_rows_are_refused():
    calibration, history = {"threshold": 0.5, "temperature": 1.0}, trained_for(2)
    predictions = predict_at_random("test", 30).assign(run_fingerprint=RUN)
    table = measure(predictions)
    rows = {"predictions": len(predictions), "metric_table": len(table)}
    metrics, another = {"run_fingerprint": RUN, "rows": rows} | calibration, "b" * 64

    def describe(run, history, predictions=predictions, table=table):
        detector = SimpleNamespace(describe=lambda: calibration | {"run_fingerprint": run})
        return describe_scored_detector(detector, metrics, history, predictions, table)

    assert describe(RUN, history)
    # files of older versions do not name their run
    assert describe(RUN, history.drop(columns="run_fingerprint"))
    with pytest.raises(UserError, match="kedro run --pipelines evaluation"):
        describe(another, history)
    # two runs of the same accuracies are two runs
    with pytest.raises(UserError, match="--load-versions") as error:
        describe(RUN, history.assign(run_fingerprint=another))
    assert "\n" not in error.value.message
    # cut at the end of a line
    for cut in ({"predictions": predictions[:20]}, {"table": table[:-1]}):
        with pytest.raises(UserError, match=f"{len(next(iter(cut.values())))} rows"):
            describe(RUN, history, **cut)


def test_each_figure_that_shows_anything_is_drawn_once_and_embedded(inputs):
    drawn = draw(inputs(BOTH))
    embedded = drawn["page_figures"]
    assert set(drawn) - {"page_figures"} == set(embedded) - {
        "robustness",
        "error_measures",
        "shortcuts",
    }
    assert "best epoch: 4" in embedded["loss_curve"].alt
    assert "Confusion matrix, test" in embedded["confusion_matrix"].alt
    fakes = predict("test", [("fake/1.png", 1, 2.0)])
    drawn = draw(
        inputs(fakes),
        training_history=trained_for(4).drop(columns="run_fingerprint"),
        robustness_table=distort(run="another"),
        false_case_measures=compare_measures().assign(differs="too few"),
    )
    assert set(drawn["page_figures"]) == {
        "confusion_matrix", "reliability_diagram", "score_histogram", "shortcuts",
    }  # fmt: skip
    assert draw(inputs(fakes), predictions=fakes.head(0))["page_figures"].keys() == {
        "loss_curve", "accuracy_curve", "robustness", "error_measures", "shortcuts",
    }  # fmt: skip
