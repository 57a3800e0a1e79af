import base64
import dataclasses
import hashlib
import html
import io
import re

import numpy as np
import pandas as pd
import pytest
from page_elements import Elements
from PIL import Image
from reporting_samples import (
    RUN,
    DescribedDetector,
    audit_leaks,
    compare_measures,
    distort,
    doubt,
    explain,
    predict,
    predict_at_random,
    trained_for,
)

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import ReportingParameters
from deepfake_detection.pipelines.reporting import create_pipeline
from deepfake_detection.pipelines.reporting.nodes import describe_scored_detector, write_report
from deepfake_detection.pipelines.reporting.reliability import bin_reliability, calibration_error
from deepfake_detection.reports.settings import flatten_settings

HOSTILE = "<script>alert(1)</script>"


pytestmark = pytest.mark.usefixtures("without_figures")


def test_same_inputs_make_the_same_page(inputs):
    assert write_report(**inputs()) == write_report(**inputs())


def test_names_notes_and_settings_are_shown_as_text(inputs):
    name = 'fakes/" onerror="alert(2)' + HOSTILE.replace("/", ":") + ".png"
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


def test_individual_split_is_called_inflated_with_the_reason(inputs):
    given = inputs(predict_at_random("validation", 60))
    given["split_summary"] |= {"method": "individual", "groups_in_more_than_one_subset": 17}
    words = Elements(write_report(**given)).words
    assert "The validation score is inflated" in words.split("What the score may be trusted for")[0]
    assert "neighbouring images of one source stand in training and validation" in words
    assert "17 groups stand in more than one subset" in words


def test_without_test_the_page_says_that_validation_chose_the_epoch(inputs):
    words = Elements(write_report(**inputs(predict_at_random("validation", 60)))).words
    assert "Validation also chose the epoch" in words
    assert "inflated" not in words


def test_with_test_the_headline_is_of_test_and_nothing_is_doubted(inputs):
    both = pd.concat([predict_at_random("validation", 60), predict_at_random("test", 30, seed=1)])
    words = Elements(write_report(**inputs(both))).words
    test = both[both["subset"] == "test"]
    fakes = test[test["label"] == 1]
    assert "Validation also chose the epoch" not in words
    assert "Read with care" not in words
    assert f"it finds {fakes['predicted'].sum()} of {len(fakes)} fakes" in words


def test_the_page_says_what_of_threshold_and_temperature_validation_chose(inputs):
    for subset, said in {
        "test": "The epoch, the threshold and the temperature were chosen on validation.",
        "validation": "Validation also chose the epoch, the threshold and the temperature",
    }.items():
        given = inputs(predict_at_random(subset, 60))
        given["description"] |= {
            "threshold": 0.321, "temperature": 1.75,
            "calibration": {"fitted": ["threshold", "temperature"], "notes": ["it stops <here>"]},
        }  # fmt: skip
        words = Elements(write_report(**given)).words
        assert said in words
        assert "from a fake probability of 0.321 on, a threshold fitted on validation" in words
        assert "a temperature of 1.75, fitted on validation" in words
        assert "it stops <here>" in words
    words = Elements(write_report(**inputs())).words
    assert "The epoch was chosen on validation." in words
    assert "fitted on validation" not in words


def test_set_from_elsewhere_is_the_headline_of_its_own_page(inputs):
    words = Elements(write_report(**inputs(predict_at_random("external", 60)))).words
    assert "the headline figures come from external" in words


def test_split_that_was_made_anew_is_noticed(inputs):
    given = inputs()
    given["description"] |= {"split": {**given["split_summary"], "fingerprint": "0" * 64}}
    assert "The split was made anew since" in Elements(write_report(**given)).words


def test_note_on_the_images_stands_at_the_top_once(inputs):
    given = inputs()
    given["split_summary"]["note"] = "generated faces: drawings"
    words = Elements(write_report(**given)).words
    assert words.count("generated faces: drawings") == 1
    assert words.index("generated faces") < words.index("Fakes found")


def test_missing_picture_is_named_and_the_page_still_comes_out(inputs, tmp_path):
    given = inputs(predict("test", [(f"fake/{i}.png", 1, -float(i)) for i in (1, 2, 3)]))
    (tmp_path / "fake/2.png").unlink()
    (tmp_path / "fake/3.png").write_bytes(b"")
    words = Elements(write_report(**given)).words
    assert "2 pictures could not be shown" in words
    assert "fake/2.png: missing" in words
    assert "fake/3.png: unreadable" in words


def test_cases_come_kind_by_kind_with_picture_and_heat_map(inputs):
    scored = predict_at_random("test", 90)
    given = inputs(scored)
    page = write_report(**given)
    elements = Elements(page)
    wrong = scored[scored["label"] != scored["predicted"]]
    missed = wrong[wrong["label"] == 1].sort_values("logit")["path"]
    alarms = wrong[wrong["label"] == 0].sort_values("logit", ascending=False)["path"]
    paths = elements.values("li", "data-path")
    assert paths[: len(wrong)] == [*missed, *alarms]
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
    assert f"24 of the {len(found)} fakes found of test, among the most certain." in elements.words


def test_case_without_a_heat_map_says_why(inputs):
    cases = explain(predict_at_random("test", 60), of_each=5)
    cases[0] = dataclasses.replace(cases[0], heat=None, problem="its <file> changed")
    elements = Elements(write_report(**inputs(explained_cases=cases)))
    assert "no heat map: its <file> changed" in elements.words
    assert (
        elements.values("img", "class").count("heat") == len(elements.values("li", "data-path")) - 1
    )


def test_false_cases_that_were_not_explained_are_shown_all_the_same(inputs):
    scored = predict_at_random("test", 90)
    wrong = scored[scored["label"] != scored["predicted"]]
    elements = Elements(write_report(**inputs(scored, explained_cases=explain(scored, of_each=2))))
    kinds = elements.values("li", "data-kind")
    assert sorted(elements.values("li", "data-path")[: len(wrong)]) == sorted(wrong["path"])
    assert kinds[len(wrong) :] == ["certain fake"] * 2 + ["certain real"] * 2
    assert elements.values("img", "class").count("heat") == 8
    missed = ((scored["label"] == 1) & (scored["predicted"] == 0)).sum()
    assert (
        f"{missed} false negatives among the 60 fakes of test, the most confident" in elements.words
    )


def test_page_without_any_case_has_no_gallery(inputs):
    right = predict("test", [("fake/1.png", 1, 2.0), ("real/1.png", 0, -2.0)])
    elements = Elements(write_report(**inputs(right, explained_cases=[])))
    assert "No false negative among the 1 fakes of test." in elements.words
    assert not elements.values("ul", "id")
    assert "dialog" not in elements.names


def test_page_with_its_figures_is_single_document_under_five_megabytes(
    inputs, tmp_path, monkeypatch
):
    monkeypatch.undo()
    scored = predict_at_random("test", 2400)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    # nothing weighs more than noise, and no gallery holds more than these
    scored["path"] = scored["path"].str.replace(".png", f"_{'x' * 150}.jpg")
    cases = explain(scored, of_each=120)
    for path in {*(case.path for case in cases), *doubt(scored)["path"].head(24)}:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(buffer.getvalue())
    page = write_report(
        **inputs(
            scored,
            explained_cases=cases,
            parameters=ReportingParameters(
                gallery_size=10_000, gallery_columns=6, label_issues_shown=99
            ),
            robustness_table=distort(run="another"),
            false_case_measures=compare_measures(run="another"),
        )
    )
    elements = Elements(page)
    assert len(page.encode()) < 5_000_000
    assert len(elements.values("li", "data-path")) == 400
    assert "the 100 most confident are shown" in elements.words
    assert page.startswith("<!doctype html>")
    assert elements.values("html", "lang") == ["en"]
    assert elements.names.count("title") == elements.names.count("h1") == 1
    assert not {"link", "iframe", "object", "svg"} & set(elements.names)
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
    # each figure once for a light and once for a dark background
    classes = elements.values("img", "class")
    assert classes.count("on-light") == classes.count("on-dark") == 6
    sources = [src for src in elements.values("img", "src") if src.startswith("data:image/svg")]
    assert len(set(sources)) == 12


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
    assert not [name for _, name, _ in Elements(page).attributes if name.startswith("on")]


def test_leaks_between_subsets_are_a_warning_at_the_top(inputs):
    found = {"exact duplicate": {"train and test": {"pairs": 3, "images": 2}}}
    words = Elements(write_report(**inputs(leakage_summary=audit_leaks(found)))).words
    before, after = words.split("What the score may be trusted for")
    assert "Pictures stand, or nearly stand, in two subsets" in before
    assert "The same file: 2 images of test in train" in after


def test_reliability_is_shown_bin_by_bin_with_its_error(inputs):
    both = pd.concat([predict_at_random("validation", 60), predict_at_random("test", 30, seed=1)])
    words = Elements(write_report(**inputs(both))).words
    for subset, part in both.groupby("subset"):
        error = calibration_error(part, 15)
        assert f"On {subset} the expected calibration error is {error:.3f}." in words
        assert f"Reliability on {subset}, bins that hold an image" in words
    first = bin_reliability(both[both["subset"] == "test"], 15, 0.95).iloc[0]
    assert f"0.000 to 0.067 {first['images']:.0f} {first['mean_probability']:.3f}" in words


def test_robustness_is_shown_with_what_costs_most(inputs):
    words = Elements(write_report(**inputs())).words
    sentence = (
        "Of 5 distortions that were tried, blurred by 2 px costs the most: accuracy falls from "
        "85.0 % to 70.0 %."
    )
    assert sentence in words.split("What the score may be trusted for")[0]
    assert "JPEG quality 50 0.79000.740 to 0.840 · n 60" in words
    assert "Recall, fake" in words.split("costs the most")[2]


@pytest.mark.parametrize("rows", [0, 18])
def test_tables_of_another_detector_are_left_out_and_the_page_says_so(inputs, rows):
    words = Elements(
        write_report(
            **inputs(
                robustness_table=distort(run="another").head(rows),
                false_case_measures=compare_measures(run="another").head(rows),
            )
        )
    ).words
    assert "costs the most" not in words
    assert "kedro run --pipelines robustness" in words
    assert "kedro run --pipelines explanation" in words
    assert "18 comparisons" not in words


def test_false_cases_are_measured_against_right_ones(inputs):
    words = Elements(write_report(**inputs())).words
    assert (
        "1 of 18 comparisons shows a difference that chance alone hardly makes: sharpness of eyes "
        "(false negatives)." in words
    )
    assert "false negatives eyes, sharpness 0.31 0.42 12 against 30 0.70.55 to 0.82 yes" in words
    assert words.count("18 comparisons were made") == 1


def test_label_issues_are_candidates_with_their_pictures(inputs, tmp_path):
    scored = predict("test", [(f"fake/{i}.png", 1, -float(i)) for i in range(1, 20)])
    given = inputs(scored)
    (tmp_path / "fake/19.png").unlink()
    elements = Elements(write_report(**given))
    assert "19 images have label issues; the 12 most doubted are" in elements.words
    assert "candidates for mislabelled ones" in elements.words
    shown = [alt for alt in elements.values("img", "alt") if alt.startswith("Labelled fake: ")]
    assert shown == [f"Labelled fake: fake/{i}.png" for i in range(18, 7, -1)]
    assert "labelled fake (test)" in elements.words


def test_no_doubted_label(inputs):
    right = predict("test", [("fake/1.png", 1, 2.0), ("real/1.png", 0, -2.0)])
    words = Elements(write_report(**inputs(right))).words
    assert "each scored image’s own label is the more probable one" in words


def test_detector_that_no_validation_chose(inputs):
    history = trained_for(4).assign(validation_loss=np.nan, validation_accuracy=np.nan)
    given = inputs(training_history=history)
    given["description"] |= {"best_epoch": 4, "best_validation_accuracy": None}
    words = Elements(write_report(**given)).words
    assert "The weights are of epoch 4, the last. There was no validation subset" in words


def test_rejected_images_are_counted_and_the_first_listed(inputs):
    rejected = pd.DataFrame(
        {"path": [f"real/{i}.png" for i in range(33)], "reason": ["empty file"] * 33}
    )
    words = Elements(write_report(**inputs(rejected_images=rejected))).words
    assert "33 files were found and not used; the first 20 are listed" in words
    assert "real/19.png empty file" in words
    assert "real/20.png empty file" not in words


def test_metrics_show_intervals_notes_and_what_is_undefined(inputs):
    given = inputs(predict_at_random("validation", 60))
    table = given["metric_table"]
    accuracy = (table["metric"] == "accuracy") & (table["level"] == "image")
    table.loc[accuracy, ["value", "low", "high"]] = [0.875, 0.8123, 0.9345]
    words = Elements(write_report(**given)).words
    assert "81.2 % to 93.4 %" in words
    assert "0.8750" in words
    assert "0.812 to 0.934 · n 60" in words
    assert "undefined" in words
    assert "one class" in words
    # said once at the foot of the table, not in every row
    assert words.count("validation also chose the epoch") == 1
    assert "Recall of kind, fake_face2face" in words


def test_one_class_and_one_epoch_make_a_page(inputs):
    only_fakes = predict("test", [("fake/1.png", 1, 2.0), ("fake/2.png", 1, -1.0)])
    words = Elements(write_report(**inputs(only_fakes, training_history=trained_for(1)))).words
    assert "it finds 1 of 2 fakes and misses 1." in words
    assert "The subset test holds no real images." in words


def test_all_settings_stand_on_the_page(inputs):
    settings = {
        "model": "vgg16",
        "training": {"optimizer": {"betas": [0.9, 0.999]}, "weights": None, "shuffle": True},
        "classes": {"a.b": "real"},
        "empty": {},
    }
    assert flatten_settings(settings) == {
        "": [("model", "vgg16"), ("empty", "none")],
        "training": [("optimizer.betas", "0.9, 0.999"), ("weights", "none"), ("shuffle", "true")],
        "classes": [("a.b", "real")],
    }
    given = inputs()
    given["description"]["settings"] = settings
    words = Elements(write_report(**given)).words
    assert "optimizer.betas 0.9, 0.999" in words
    assert RUN in words


def described(run: str, best: float | None = 0.1 + 0.2) -> DescribedDetector:
    return DescribedDetector(
        {"run_fingerprint": run, "best_epoch": 2, "best_validation_accuracy": best}
    )


HISTORY = pd.DataFrame({"epoch": [1, 2], "validation_accuracy": [0.2, 0.3]})


def test_metrics_of_another_detector_are_refused():
    detector = described("a" * 64)
    assert describe_scored_detector(detector, {"run_fingerprint": "a" * 64}, HISTORY)
    with pytest.raises(UserError, match="kedro run --pipelines evaluation") as error:
        describe_scored_detector(detector, {"run_fingerprint": "b" * 64}, HISTORY)
    assert "\n" not in error.value.message


@pytest.mark.parametrize("accuracies", [[0.3, 0.2], [0.3]])
def test_a_history_of_another_detector_is_refused(accuracies):
    history = pd.DataFrame(
        {"epoch": range(1, len(accuracies) + 1), "validation_accuracy": accuracies}
    )
    with pytest.raises(UserError, match="training history is of another detector"):
        describe_scored_detector(described("a" * 64), {"run_fingerprint": "a" * 64}, history)


def test_a_detector_without_validation_goes_with_a_history_without_it():
    metrics = {"run_fingerprint": "a" * 64}
    final = described("a" * 64, None)
    without = HISTORY.assign(validation_accuracy=np.nan)
    assert describe_scored_detector(final, metrics, without)
    for other in (HISTORY, without.head(1)):
        with pytest.raises(UserError, match="training history is of another detector"):
            describe_scored_detector(final, metrics, other)
    with pytest.raises(UserError, match="training history is of another detector"):
        describe_scored_detector(described("a" * 64), metrics, without)


def test_pipeline_makes_its_figures_and_the_page():
    pipeline = create_pipeline()
    assert pipeline.outputs() == {
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


def test_escaping_does_not_show_twice(inputs):
    rows = [("fake/a&b.png", 1, -1.0), ("real/1.png", 0, -1.0)]
    page = write_report(**inputs(predict("test", rows)))
    assert "fake/a&amp;b.png" in page
    assert "&amp;amp;" not in page
    assert html.unescape("fake/a&amp;b.png") in Elements(page).words
