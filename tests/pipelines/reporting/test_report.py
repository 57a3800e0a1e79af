import base64
import dataclasses
import hashlib
import io
import re

import numpy as np
import pandas as pd
import pytest
from page_elements import Elements
from page_in_browser import HARMLESS, IN_BROWSER, show_on_a_phone
from PIL import Image
from reporting_samples import (
    EVALUATION,
    RUN,
    DescribedDetector,
    audit_leaks,
    compare_measures,
    distort,
    explain,
    list_label_issues,
    predict,
    predict_at_random,
    trained_for,
)

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ReportingParameters
from deepfake_detection.pipelines.reporting import create_pipeline
from deepfake_detection.pipelines.reporting.nodes import (
    describe_scored_detector,
    draw_figures,
    write_report,
)

HOSTILE = "<script>alert(1)</script>"
BOTH = pd.concat([predict_at_random("validation", 60), predict_at_random("test", 30, seed=1)])
RIGHT = predict("test", [("fake/1.png", 1, 2.0), ("real/1.png", 0, -2.0)])


def show(given):
    return Elements(write_report(**given))


def headline(elements):
    """All that stands before the first section."""
    return elements.words.split("How far to trust this score")[0]


def test_same_inputs_make_the_same_page(inputs):
    assert write_report(**inputs()) == write_report(**inputs())


def test_names_notes_and_settings_are_shown_as_text(inputs):
    name = 'fakes/" onerror="alert(2)&' + HOSTILE.replace("/", ":") + ".png"
    rows = [(name, 1, -3.0), ("<b>x</b>/1.png", 0, 3.0), ("real/1.png", 0, -1.0)]
    given = inputs(
        predict("test", rows),
        rejected_images=pd.DataFrame({"path": [f"real/{HOSTILE}.png"], "reason": ["<i>bad</i>"]}),
    )
    given["split_summary"]["note"] = f"<u>drawings</u> {HOSTILE}"
    given["description"]["settings"] = {HOSTILE: {"a<b>": HOSTILE}, "list": ["<em>", 'quo"te']}
    given["description"]["versions"]["<b>lib</b>"] = HOSTILE
    given["metric_table"]["note"] = HOSTILE
    page = write_report(**given)
    elements = Elements(page)
    assert not {"b", "i", "u"} & set(elements.names)
    assert elements.names.count("script") == 1
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]
    for text in ("<b>x</b>", "<i>bad</i>", f"<u>drawings</u> {HOSTILE}", "a<b>", '<em>, quo"te'):
        assert text in elements.words
    assert any(name[:30] in alt for alt in elements.values("img", "alt"))
    assert name in elements.values("bdi", "title")
    assert name in elements.values("li", "data-path")
    assert "&amp;amp;" not in page


def test_names_that_are_no_text_can_still_be_written(inputs):
    rows = [("fake/\u202egnp.1\n2", 1, -3.0), ("real/1.png", 0, -1.0)]
    given = inputs(predict("test", rows))
    # a file name that is no UTF-8, as Python reads it from a folder
    given["description"]["settings"]["folder"] = "caf\udce9"
    page = write_report(**given)
    page.encode("utf-8")
    assert "caf\\udce9" in page
    assert "\u202e" not in page
    assert "fake/\\u202egnp.1\\n2" in page


def test_only_the_pages_own_script_may_run(inputs):
    page = write_report(**inputs())
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    (policy,) = [
        content for content in Elements(page).values("meta", "content") if "default-src" in content
    ]
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


class TestOnAPhone:
    pytestmark = IN_BROWSER

    def test_page_fits_and_runs_nothing_of_a_name(self, inputs, tmp_path):
        name = "<script>ran = 1<:script><img src=x onerror=ran=1>" + "x" * 80 + ".jpeg"
        hostile = predict("test", [(f"<b>fakes</b>/{name}", 1, -4.0)]).assign(source="s" * 200)
        scored = pd.concat([hostile, predict_at_random("test", 60)], ignore_index=True)
        given = inputs(scored)
        drawn = draw_figures(
            description=given["description"],
            evaluation=EVALUATION,
            **{name: given[name] for name in DRAWN_FROM},
        )
        shown = show_on_a_phone(write_report(**given | drawn_only(drawn)), tmp_path)
        # its own script is the only one
        assert shown == HARMLESS | {"scripts": 1}


DRAWN_FROM = ("training_history", "predictions", "robustness_table", "false_case_measures")


def drawn_only(drawn):
    return {"page_figures": drawn["page_figures"]}


def test_page_is_a_single_document_under_five_megabytes(inputs, tmp_path):
    scored = predict_at_random("test", 2400)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    # nothing weighs more than noise, and no gallery holds more than these
    scored["path"] = scored["path"].str.replace(".png", f"_{'x' * 150}.jpg")
    cases = explain(scored, of_each=120)
    for path in {*(case.path for case in cases), *list_label_issues(scored)["path"].head(24)}:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(buffer.getvalue())
    most = ReportingParameters(gallery_size=10_000, gallery_columns=6, label_issues_shown=99)
    page = write_report(**inputs(scored, explained_cases=cases, parameters=most))
    elements = Elements(page)
    # figures weigh half a megabyte
    assert len(page.encode()) < 4_500_000
    assert len(elements.values("li", "data-path")) == 400
    assert page.startswith("<!doctype html>")
    assert elements.values("html", "lang") == ["en"]
    assert elements.names.count("title") == elements.names.count("h1") == 1
    assert not {"link", "iframe", "object"} & set(elements.names)
    assert all(source.startswith("data:image/") for source in elements.values("img", "src"))
    assert all(target.startswith("#") for target in elements.values("a", "href"))
    ids = [value for _, name, value in elements.attributes if name == "id"]
    assert {target[1:] for target in elements.values("a", "href")} <= set(ids)
    assert len(ids) == len(set(ids))
    # only a heat map, which its picture's words stand for, and the scale have none of their own
    alts = elements.values("img", "alt")
    assert elements.names.count("img") == len(alts)
    assert alts.count("") == elements.values("img", "class").count("heat") + 1
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
    assert "87.5 %" in words
    assert "95 % CI 81.2 % to 93.4 %" in words
    # undefined: the reason
    assert "one class" in words


def test_a_note_on_the_images_and_warnings_stand_at_the_top_once(inputs):
    found = {"exact duplicate": {"train and test": {"pairs": 3, "images": 2}}}
    given = inputs(leakage_summary=audit_leaks(found))
    given["split_summary"]["note"] = "generated faces: drawings"
    elements = show(given)
    assert elements.words.count("generated faces: drawings") == 1
    assert "generated faces" in headline(elements)
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
    assert "0.321" in words
    assert "1.75" in words
    assert words.count("fitted on validation") == len(fitted)
    assert "it stops <here>" in words


def test_one_class_and_one_epoch_make_a_page(inputs):
    only_fakes = predict("test", [("fake/1.png", 1, 2.0), ("fake/2.png", 1, -1.0)])
    words = show(inputs(only_fakes, training_history=trained_for(1))).words
    assert "1 of 2 fakes" in words
    assert "real image" not in words.split("Recall (fakes detected)")[0].split("On test")[1]


def test_nothing_scored_makes_a_page(inputs):
    given = inputs(explained_cases=[], robustness_table=distort().head(0), page_figures={})
    for name in ("predictions", "metric_table", "label_issues", "false_case_measures"):
        given[name] = given[name].head(0)
    elements = show(given)
    assert "svg" not in elements.names
    assert not elements.values("li", "data-path")


def test_cases_come_kind_by_kind_with_picture_and_heat_map(inputs):
    scored = predict_at_random("test", 90)
    page = write_report(**inputs(scored))
    elements = Elements(page)
    wrong = scored[scored["label"] != scored["predicted"]]
    missed = wrong[wrong["label"] == 1].sort_values("logit")["path"]
    flagged = wrong[wrong["label"] == 0].sort_values("logit", ascending=False)["path"]
    paths = elements.values("li", "data-path")
    assert paths[: len(wrong)] == [*missed, *flagged]
    kinds = ["false negative", "false positive", "certain fake", "certain real"]
    assert list(dict.fromkeys(elements.values("li", "data-kind"))) == kinds
    # of the right ones no more than the gallery holds
    assert elements.values("li", "data-kind").count("certain fake") == 24
    gallery = page.split('id="cases"')[1].split("</ul>")[0]
    jpegs = re.findall(r"data:image/jpeg;base64,([^\"]+)", gallery)
    assert len(jpegs) == elements.values("img", "class").count("heat") == len(paths)
    assert Image.open(io.BytesIO(base64.b64decode(jpegs[0]))).size == (40, 30)
    assert "--ratio:1.3333" in page
    assert "left:10.00%;top:10.00%;width:80.00%;height:80.00%" in page
    found = scored[(scored["label"] == 1) & (scored["predicted"] == 1)]
    assert f"24 of the {len(found)} " in elements.words


def test_pictures_and_heat_maps_that_are_missing_are_named(inputs, tmp_path):
    scored = predict("test", [(f"fake/{i}.png", 1, -float(i)) for i in (1, 2, 3)])
    case, *cases = explain(scored, of_each=3)
    cases.append(dataclasses.replace(case, heat=None, problem="its <file> changed"))
    given = inputs(scored, explained_cases=cases)
    (tmp_path / "fake/2.png").unlink()
    (tmp_path / "fake/1.png").write_bytes(b"")
    elements = show(given)
    assert "fake/2.png: missing" in elements.words
    assert "fake/1.png: unreadable" in elements.words
    assert "its <file> changed" in elements.words
    assert elements.values("img", "class").count("heat") == 0


def test_errors_that_were_not_explained_are_shown_all_the_same(inputs):
    scored = predict_at_random("test", 90)
    wrong = scored[scored["label"] != scored["predicted"]]
    elements = show(inputs(scored, explained_cases=explain(scored, of_each=2)))
    kinds = elements.values("li", "data-kind")
    assert sorted(elements.values("li", "data-path")[: len(wrong)]) == sorted(wrong["path"])
    assert kinds[len(wrong) :] == ["certain fake"] * 2 + ["certain real"] * 2
    assert elements.values("img", "class").count("heat") == 8


def test_label_issues_are_shown_with_their_pictures(inputs, tmp_path):
    scored = predict("test", [(f"fake/{i}.png", 1, -float(i)) for i in range(1, 20)])
    given = inputs(scored)
    (tmp_path / "fake/19.png").unlink()
    elements = show(given)
    shown = [alt for alt in elements.values("img", "alt") if alt.startswith("Labelled fake: ")]
    assert shown == [f"Labelled fake: fake/{i}.png" for i in range(18, 7, -1)]
    assert "19 images" in elements.words


def test_a_section_that_has_nothing_to_show_is_omitted(inputs):
    everything = show(inputs())
    assert {"robustness", "error-measures", "label-issues"} <= set(
        everything.values("section", "id")
    )
    elements = show(
        inputs(
            RIGHT,
            explained_cases=[],
            robustness_table=distort(run="another"),
            false_case_measures=compare_measures(run="another"),
            training_history=trained_for(4).drop(columns="run_fingerprint"),
        )
    )
    ids = elements.values("section", "id")
    assert not {"robustness", "error-measures", "label-issues"} & set(ids)
    assert [f"#{each}" for each in ids] == elements.values("a", "href")[: len(ids)]
    # one line each says how to get it
    assert {"no-history", "no-robustness", "no-measures"} <= set(elements.values("p", "id"))
    assert not elements.values("ul", "id")
    assert "dialog" not in elements.names


@pytest.mark.parametrize("name", ["robustness_table", "false_case_measures"])
def test_an_empty_table_is_omitted_too(inputs, name):
    given = inputs()
    given[name] = given[name].head(0)
    assert len(show(given).values("section", "id")) == 9


def test_tables_are_shown_with_what_they_say(inputs):
    elements = show(inputs(BOTH))
    words = elements.words
    assert "JPEG quality 50 0.79000.740 to 0.840 · n 60" in words
    assert "blurred by 2 px" in headline(elements)
    assert "false negatives: eyes, sharpness 0.31 0.42 12 against 30 0.70.55 to 0.82 yes" in words
    assert words.count("18 comparisons were made") == 1
    assert elements.words.count("Reliability on ") == 2
    assert elements.values("tr", "class") == ["best"]


def test_detector_that_no_validation_chose(inputs):
    history = trained_for(4).assign(validation_loss=np.nan, validation_accuracy=np.nan)
    given = inputs(training_history=history)
    given["description"] |= {"best_epoch": 4, "best_validation_accuracy": None}
    elements = show(given)
    assert "best" not in elements.values("tr", "class")
    assert "epoch 4" in elements.words


def test_rejected_images_are_counted_and_the_first_listed(inputs):
    rejected = pd.DataFrame(
        {"path": [f"real/{i}.png" for i in range(33)], "reason": ["empty file"] * 33}
    )
    words = show(inputs(rejected_images=rejected)).words
    assert "33 files" in words
    assert "real/19.png empty file" in words
    assert "real/20.png empty file" not in words


def test_all_settings_versions_and_fingerprints_are_on_the_page(inputs):
    given = inputs()
    given["description"]["settings"] = {"training": {"optimizer": {"betas": [0.9, 0.999]}}}
    words = show(given).words
    assert "optimizer.betas 0.9, 0.999" in words
    assert "torch 2.15.0" in words
    assert RUN in words


def described(run):
    return DescribedDetector({"run_fingerprint": run, "threshold": 0.5, "temperature": 1.0})


def test_metrics_or_a_history_of_another_run_are_refused():
    calibration = {"threshold": 0.5, "temperature": 1.0}
    metrics, history = {"run_fingerprint": RUN} | calibration, trained_for(2)
    assert describe_scored_detector(described(RUN), metrics, history)
    # files of older versions do not name their run
    unnamed = history.drop(columns="run_fingerprint")
    assert describe_scored_detector(described(RUN), metrics, unnamed)
    with pytest.raises(UserError, match="kedro run --pipelines evaluation"):
        describe_scored_detector(described("b" * 64), metrics, history)
    # two runs of the same accuracies are two runs
    other = history.assign(run_fingerprint="b" * 64)
    with pytest.raises(UserError, match="--load-versions") as error:
        describe_scored_detector(described(RUN), metrics, other)
    assert "\n" not in error.value.message


def draw(given, **changed):
    names = (*DRAWN_FROM, "description", "evaluation")
    return draw_figures(**{name: given[name] for name in names} | changed)


def test_each_figure_is_drawn_once_and_embedded(inputs):
    drawn = draw(inputs(BOTH))
    embedded = drawn["page_figures"]
    assert set(drawn) - {"page_figures"} == set(embedded) - {"robustness", "error_measures"}
    words = {name: figure.alt for name, figure in embedded.items()}
    assert "best epoch: 4" in words["loss_curve"]
    assert "Confusion matrix, test" in words["confusion_matrix"]


def test_figures_that_show_nothing_are_not_embedded(inputs):
    fakes = predict("test", [("fake/1.png", 1, 2.0)])
    drawn = draw(
        inputs(fakes),
        training_history=trained_for(4).drop(columns="run_fingerprint"),
        robustness_table=distort(run="another"),
        false_case_measures=compare_measures().assign(differs="too few"),
    )
    assert set(drawn["page_figures"]) == {"confusion_matrix", "reliability_diagram"}
    assert draw(inputs(fakes), predictions=fakes.head(0))["page_figures"].keys() == {
        "loss_curve", "accuracy_curve", "robustness", "error_measures",
    }  # fmt: skip


def test_pipeline_makes_its_figures_and_the_page():
    assert create_pipeline().outputs() == {
        "loss_curve",
        "accuracy_curve",
        "confusion_matrix",
        "roc_curve",
        "precision_recall_curve",
        "reliability_diagram",
        "false_negatives",
        "false_positives",
        "report",
    }
