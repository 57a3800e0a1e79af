import base64
import html
import io
import re

import numpy as np
import pandas as pd
import pytest
from page_elements import Elements
from PIL import Image
from reporting_samples import RUN, DescribedDetector, predict, predict_at_random, trained_for

from deepfake_detection.errors import UserError
from deepfake_detection.pages import figures as page_figures
from deepfake_detection.pages.settings import flatten_settings
from deepfake_detection.parameters import ReportingParameters
from deepfake_detection.pipelines.reporting import create_pipeline
from deepfake_detection.pipelines.reporting.nodes import describe_scored_detector, write_report

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def without_figures(request, monkeypatch):
    # figures have tests of their own, and take most of the time that a page takes
    if "draws_figures" not in request.fixturenames:
        monkeypatch.setattr(page_figures, "svg", lambda *_: "data:image/svg+xml;base64,")


@pytest.fixture
def draws_figures():
    """For a test whose page has its real figures."""


def test_page_is_one_document_that_needs_nothing_else(inputs, draws_figures):
    page = write_report(**inputs())
    elements = Elements(page)
    assert page.startswith("<!doctype html>")
    assert elements.values("html", "lang") == ["en"]
    assert elements.names.count("title") == elements.names.count("h1") == 1
    assert not {"script", "link", "iframe", "object", "svg"} & set(elements.names)
    assert all(source.startswith("data:image/") for source in elements.values("img", "src"))
    assert all(target.startswith("#") for target in elements.values("a", "href"))
    ids = {value for _, name, value in elements.attributes if name == "id"}
    assert {target[1:] for target in elements.values("a", "href")} <= ids
    assert elements.names.count("img") == len(elements.values("img", "alt"))
    assert all(elements.values("img", "alt"))
    assert "http://" not in page
    assert "https://" not in page
    # each figure once for a light and once for a dark background
    classes = elements.values("img", "class")
    assert classes.count("on-light") == classes.count("on-dark") == 4
    sources = [src for src in elements.values("img", "src") if src.startswith("data:image/svg")]
    assert len(set(sources)) == 8


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
    assert not {"script", "b", "i", "u", "em"} & (set(elements.names) - {"em"})
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]
    for text in ("<b>x</b>", "<i>bad</i>", f"<u>drawings</u> {HOSTILE}", "a<b>", '<em>, quo"te'):
        assert text in elements.words
    assert any(name[:30] in alt for alt in elements.values("img", "alt"))
    assert name in elements.values("bdi", "title")


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


def test_gallery_shows_the_pictures_themselves_in_confidence_order(inputs):
    scored = predict_at_random("test", 90)
    page = write_report(**inputs(scored))
    wrong = scored[scored["label"] != scored["predicted"]]
    missed = wrong[wrong["label"] == 1].sort_values("logit")["path"]
    alarms = wrong[wrong["label"] == 0].sort_values("logit", ascending=False)["path"]
    assert Elements(page).values("bdi", "title") == [*missed, *alarms]
    jpegs = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert len(jpegs) == len(wrong)
    assert Image.open(io.BytesIO(base64.b64decode(jpegs[0]))).size == (40, 30)


def test_page_stays_under_five_megabytes_whatever_the_gallery_size(inputs, tmp_path):
    rows = [(f"fake/{i}.jpg", 1, -1.0 - i / 100) for i in range(300)]
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    (tmp_path / "fake").mkdir()
    for path, _, _ in rows:
        (tmp_path / path).write_bytes(buffer.getvalue())
    many = ReportingParameters(gallery_size=10_000, gallery_columns=6)
    page = write_report(**inputs(predict("test", rows), parameters=many))
    assert len(page.encode()) < 5_000_000
    assert "the 250 most confident are shown" in page


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


def described(run: str) -> DescribedDetector:
    return DescribedDetector(
        {"run_fingerprint": run, "best_epoch": 2, "best_validation_accuracy": 0.1 + 0.2}
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


def test_pipeline_makes_six_figures_and_the_page():
    pipeline = create_pipeline()
    assert pipeline.outputs() == {
        "loss_curve",
        "accuracy_curve",
        "confusion_matrix",
        "roc_curve",
        "missed_fakes",
        "false_alarms",
        "report",
    }


def test_escaping_does_not_show_twice(inputs):
    rows = [("fake/a&b.png", 1, -1.0), ("real/1.png", 0, -1.0)]
    page = write_report(**inputs(predict("test", rows)))
    assert "fake/a&amp;b.png" in page
    assert "&amp;amp;" not in page
    assert html.unescape("fake/a&amp;b.png") in Elements(page).words
