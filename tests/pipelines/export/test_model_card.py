"""The model card: what it says of a detector, with and without metrics, and of hostile text."""

import re
import subprocess
import sys

import pandas as pd
import pytest
import yaml
from detector_samples import VOUCHED_BY, build_detector
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from deepfake_detection.metrics.finished_scores import FinishedScores, Scores
from deepfake_detection.pipelines.export.agreement import Agreement
from deepfake_detection.pipelines.export.model_card import in_markdown
from deepfake_detection.pipelines.export.nodes import write_model_card

AGREEMENT = Agreement(pictures=16, largest_difference=3.2e-7)
NOTE = "Only drawings."
SPLIT = {
    "method": "group", "ratios": {"train": 0.6, "validation": 0.2, "test": 0.2}, "seed": 4,
    "images": {
        "train": {"real": 30, "fake_deepfake": 60}, "validation": {"real": 10, "fake_deepfake": 20},
        "test": {"real": 10, "fake_deepfake": 1200},
    },
    "groups": {"train": 6, "validation": 2, "test": 2}, "groups_in_more_than_one_subset": 0,
    "fingerprint": "ab" * 32, "note": NOTE,
    "image_sizes": {"shorter_side": [280, 299], "proportions": [0.98, 1.0]},
}  # fmt: skip
HOSTILE = (
    "a|b\n\n# Title\n<script>alert(1)</script> ![x](http://x.y/z) **bold** `code` [l](u) &lt; $x$ "
    "https://x.y www.x.y _i_ | --- |"
)
PARSER = MarkdownIt("gfm-like", {"linkify": False})


def _make_scores(*subsets):
    """As the evaluation leaves them; what is measured on test is twice as large as elsewhere."""
    figures = [
        ("accuracy", None, 0.4, 0.3, 0.45, 30),
        ("equal_error_rate", None, 0.2, None, None, 30),
        ("recall", "fake", 0.41, 0.3, 0.45, 20),
        ("recall_of_kind", "fake_deepfake", 0.42, 0.3, 0.45, 20),
        ("roc_auc", None, None, None, None, 30),
        ("false_negatives", None, 7, None, None, 30),
    ]
    rows = [
        [metric, subset, level, name, *(each and each * (2 if subset == "test" else 1)
         for each in numbers), n]
        for subset in subsets for level in ("image", "source")
        for metric, name, *numbers, n in figures
    ]  # fmt: skip
    columns = ["metric", "subset", "level", "class_name", "value", "low", "high", "n"]
    table = pd.DataFrame(rows, columns=columns)
    return FinishedScores([Scores({"run_fingerprint": "cd" * 32}, lambda: table, lambda: table)])


def _write(folder, *subsets, **changes):
    detector = build_detector(**{"split": SPLIT} | changes)
    scores = _make_scores(*subsets) if subsets else FinishedScores()
    return write_model_card(detector, AGREEMENT, scores)


def _section(card, name):
    return card.split(f"## {name}\n")[1].split("\n## ", maxsplit=1)[0]


def _rows(section):
    """The cells of its table as they are shown."""
    tokens = PARSER.parse(section)
    assert any(token.type == "table_open" for token in tokens)
    rows: list[list[str]] = []
    for at, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in {"th_open", "td_open"}:
            inline = tokens[at + 1].children or []
            rows[-1].append("".join(child.content for child in inline))
    return rows


def test_its_front_matter_claims_what_is_true(tmp_path):
    front = yaml.safe_load(_write(tmp_path).split("---\n")[1])
    assert front == {
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "license": "mit",
        "tags": ["deepfake-detection"],
    }


def test_it_gives_the_metrics_of_test_with_their_intervals(tmp_path):
    figures = _section(_write(tmp_path, "validation", "test"), "Figures")
    rows = _rows(figures)
    assert ["Accuracy", *["0.800 (0.600 to 0.900), n 30"] * 2] in rows
    assert ["Equal error rate", *["0.400, n 30"] * 2] in rows
    assert ["Recall of fake images", *["0.820 (0.600 to 0.900), n 20"] * 2] in rows
    assert ["Recall of fake_deepfake", *["0.840 (0.600 to 0.900), n 20"] * 2] in rows
    assert ["ROC AUC", "undefined", "undefined"] in rows
    assert "inflated" not in figures


def test_metrics_of_validation_name_what_it_chose_and_an_individual_split(tmp_path):
    card = _write(
        tmp_path, "validation", split=SPLIT | {"method": "individual"},
        calibration={"fitted": ["threshold"], "notes": ["nothing fits"]},
    )  # fmt: skip
    figures = _section(card, "Figures")
    assert "the epoch and the threshold**" in figures
    assert "0.400 (0.300 to 0.450)" in figures
    assert "inflated" in figures
    assert "inflated" in _section(card, "Limits")
    assert "nothing fits" in _section(card, "Threshold and temperature")


def test_without_metrics_it_names_the_command(tmp_path):
    figures = _section(_write(tmp_path), "Figures")
    assert "kedro run --pipelines evaluation" in figures
    assert "|" not in figures


def test_it_shows_the_detector_s_card(tmp_path):
    card = _write(
        tmp_path, threshold=0.25, temperature=1.5,
        settings={"training": {"epochs": 3, "optimizer": {"lr": 0.01}},
                  "calibration": {"threshold": {"rule": "equal_error"}}},
        calibration={"fitted": ["threshold"]},
    )  # fmt: skip
    assert NOTE in card.split("## ")[0]
    data = _section(card, "Data")
    assert _rows(data) == [
        ["class folder", "label", "train", "validation", "test"],
        ["real", "real", "30", "10", "10"],
        ["fake_deepfake", "fake", "60", "20", "1,200"],
        ["all", "", "90", "30", "1,210"],
    ]
    assert "train 0.6, validation 0.2, test 0.2." in data
    assert _rows(_section(card, "Threshold and temperature"))[1:] == [
        ["Threshold", "0.25", "chosen on validation (equal error)"],
        ["Temperature", "1.5", "set by a parameter"],
    ]
    training = _section(card, "Training")
    assert "epoch 3" in training
    assert "0.3000" in training
    assert ["optimizer.lr", "0.01"] in _rows(training)
    limits = _section(card, "Limits")
    for expected in ("280 to 299", "0.98 to 1.00", "fake_deepfake."):
        assert expected in limits
    for expected in ("cd" * 32, "ab" * 32):
        assert expected in _section(card, "Versions and fingerprints")


def test_it_shows_an_older_detector_which_knows_less(tmp_path):
    bare = {"fingerprint": "ab" * 32, "method": "group", "note": None}
    card = _write(tmp_path, split=bare, best_validation_accuracy=None, settings={})
    assert "* class folder fake_deepfake: fake" in _section(card, "Data")
    assert NOTE not in card
    assert "None" not in card


def test_a_detector_of_all_images_has_the_metrics_of_its_settings_run(tmp_path):
    changes = {
        "run_fingerprint": "ef" * 32, "split": SPLIT | {"method": "all"},
        "vouched_by": VOUCHED_BY | {"run_fingerprint": "cd" * 32, "split_method": "individual"},
        "best_validation_accuracy": None,
    }  # fmt: skip
    card = _write(tmp_path, "test", **changes)
    figures = _section(card, "Figures")
    assert "inflated" in figures
    assert ["Accuracy", *["0.800 (0.600 to 0.900), n 30"] * 2] in _rows(figures)
    assert ["images", "540"] in _rows(_section(card, "Training"))
    elsewhere = _section(_write(tmp_path / "elsewhere", **changes), "Figures")
    assert "kedro run --pipelines evaluation" in elsewhere


def test_hostile_text_changes_nothing(tmp_path):
    names = {"real": "real", HOSTILE: "fake"}
    images = {subset: {"real": 1, HOSTILE: 2} for subset in ("train", "test")}
    hostile = _write(
        tmp_path, "validation", classes=names, versions={HOSTILE: HOSTILE},
        split=SPLIT | {"note": HOSTILE, "images": images, "shortcuts": [HOSTILE.splitlines()[-1]]},
        settings={"training": {HOSTILE: HOSTILE}}, calibration={"notes": [HOSTILE]},
    )  # fmt: skip
    plain = _write(
        tmp_path / "plain", "validation", classes={"real": "real", "x": "fake"},
        versions={"x": "x"}, split=SPLIT | {"note": "x", "shortcuts": ["x"], "images": {
            subset: {"real": 1, "x": 2} for subset in ("train", "test")}},
        settings={"training": {"x": "x"}}, calibration={"notes": ["x"]},
    )  # fmt: skip

    def shape(card):
        tokens = PARSER.parse(card)
        inside = [child.type for token in tokens for child in token.children or []]
        kept = [each for each in inside if each not in {"text", "text_special"}]
        return [token.type for token in tokens] + kept

    assert shape(hostile) == shape(plain)
    assert "html_inline" not in shape(hostile)
    assert "<script" not in PARSER.render(hostile)
    # pages that turn bare addresses into links find none
    assert not re.search(r"\w://|www\.", hostile)


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_reads_as_what_it_is(text):
    shown = PARSER.parseInline(f"x {in_markdown(text)} x")[0].children or []
    assert {child.type for child in shown} <= {"text", "text_special"}
    said = "".join(child.content for child in shown)
    printed = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    assert said == f"x {printed} x"


def test_its_python_for_onnx_works_when_copied(tmp_path, exported_folder, exported):
    card = write_model_card(exported.detector, exported.agreement, FinishedScores())
    (exported_folder / "photo.jpg").rename(exported_folder / "picture.jpg")
    code = re.findall(r"```python\n(.+?)```", card, re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.modules['torch'] = None\n{code}"],
        cwd=exported_folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = exported.detector.score(exported_folder / "picture.jpg", faces="given")
    probability, box = done.stdout.split()
    assert float(probability) == pytest.approx(expected.fake_probability, abs=1e-4)
    assert box == "None"


def test_properties_of_files_that_tell_the_classes_are_named(tmp_path):
    told = ["quality: AUC 0.98 (0.91 to 1.00)", "size: AUC 0.90 (0.80 to 0.95)"]
    data = _section(_write(tmp_path, split=SPLIT | {"shortcuts": told}), "Data")
    assert all(each in data for each in told)
    assert "AUC" not in _section(_write(tmp_path), "Data")
