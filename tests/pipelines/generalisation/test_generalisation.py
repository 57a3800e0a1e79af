"""Detectors on sets from elsewhere: matrix, drops, what is left out, what is kept, the page."""

import dataclasses
import hashlib
import logging

import detector_samples
import numpy as np
import pandas as pd
import pytest
import torch
from face_samples import draw_videos, face_settings
from page_elements import Elements
from page_in_browser import HARMLESS, find_barriers, open_tab, show_on_a_phone
from PIL import Image
from torch import nn

from deepfake_detection.errors import UserError
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.metrics.finished_scores import FinishedScores, Scores
from deepfake_detection.models.score_table import load_score_table
from deepfake_detection.parameters import EvaluationParameters, GeneralisationParameters
from deepfake_detection.parameters.comparisons import PublishedResults
from deepfake_detection.parameters.generalisation import complete_sets
from deepfake_detection.pipelines.generalisation.nodes import (
    compare_on_sets,
    measure_sets,
    open_detectors,
    score_sets,
    take_one_detector,
)
from deepfake_detection.pipelines.generalisation.page import report_generalisation

EVALUATION = EvaluationParameters(
    batch_size=16, confidence=0.95, calibration_bins=10, few_groups=5, label_issues=3, device="cpu"
)
DEFAULTS = {
    "images": "folder", "layout": "auto",
    "layout_options": {"compression": None, "lists": None, "table": None, "folder_names": {},
                       "leave_out": [], "official_subset": None},
    "classes": {"real": "real", "fake": "fake"},
    "source": {"rule": "image", "size": 5, "pattern": None},
    "group": {"rule": "source", "pattern": None},
    "max_rejected_share": 0.5, "max_pixels": 10**6, "crop_recipe": None, "note": None,
    "equalise": None,
}  # fmt: skip


class _Redness(nn.Module):
    """Calls a picture fake by how red it is; the head can be turned around."""

    def __init__(self, sign=1.0):
        super().__init__()
        self.fc = nn.Linear(1, 2, bias=False)
        self.fc.weight.data = torch.tensor([[0.0], [sign * 20]])

    def forward(self, pictures):
        return self.fc((pictures[:, 0] - 0.5).mean(dim=(1, 2))[:, None])


def make_detector(sign=1.0, **changes):
    card = {
        "preprocessing": {"resize": 8, "crop": 8, "mean": [0, 0, 0], "std": [1, 1, 1]},
        "run_fingerprint": f"{50 + int(sign * 9)}" * 32,
    } | changes
    made = detector_samples.build_detector(**card)
    return dataclasses.replace(made, network=_Redness(sign).eval(), trained_on=pack_hashes([]))


def write_set(folder, shift, count=60, kinds=("fake",), seed=0):
    """Pictures whose red is `shift` deviations of 30 higher in fakes."""
    generator = np.random.default_rng(seed)
    for at, kind in enumerate(("real", *kinds)):
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            red = generator.normal(110 + 30 * shift * (kind != "real"), 30)
            pixels = np.full((8, 8, 3), (np.clip(red, 0, 255), number, 9 * seed + at), np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    return folder


def make_sets(protocol=None, protocols=None, **sets):
    completed = complete_sets(
        {
            "external_evaluation": DEFAULTS,
            "generalisation": {"detectors": {}, "sets": sets, "trained_on": None},
            "protocol": protocol,
            "protocols": protocols or {},
        }
    )
    return GeneralisationParameters.model_validate(completed["generalisation"])


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """An easy set with two kinds of fake and a damaged file, a hard one, and a missing one."""
    folder = tmp_path_factory.mktemp("material")
    kinds = ("fake_swap", "fake_reenactment")
    write_set(folder / "easy", 3.0, kinds=kinds)
    (folder / "easy/real/7.png").write_bytes(b"no picture")
    write_set(folder / "hard", 0.1, seed=1)
    classes = {"real": "real"} | dict.fromkeys(kinds, "fake")
    sets = make_sets(
        easy={"path": "easy", "classes": classes, "published_as": "Celeb-DF v2"},
        hard={"path": str(folder / "hard"), "note": "<b>drawn</b>"},
        nowhere={},
    )
    return folder, sets


def run(material, tmp_path, detectors, finished=None):
    folder, sets = material
    predictions, lost = score_sets(
        detectors, folder, tmp_path / "crops", tmp_path / "scores", sets, face_settings(),
        EVALUATION, **{"set:nowhere": folder / "nowhere"},
    )  # fmt: skip
    finished = finished or FinishedScores()
    table = measure_sets(predictions, detectors, finished, EVALUATION)
    return predictions, lost, table, compare_on_sets(predictions, detectors, EVALUATION)


def own_scores(detector, generator):
    """Scores of a test set on which the detector is right on all."""
    labels = np.arange(200) % 2
    logits = np.where(labels, 4.0, -4.0) + generator.normal(size=200)
    pairs = [f"{n // 2}" for n in range(200)]
    predictions = pd.DataFrame(
        {"path": [f"{n}.png" for n in range(200)], "class_name": np.where(labels, "fake", "real"),
         "label": labels, "source": pairs, "group": pairs, "subset": "test",
         "logit": logits, "predicted": labels}
    )  # fmt: skip
    metrics = {
        "run_fingerprint": detector.card.run_fingerprint, "threshold": 0.5, "temperature": 1.0,
        "source_score": {"rule": "mean_logit", "top_share": 1.0, "areas": {}},
    }  # fmt: skip
    # newer, and of a set from elsewhere
    worse = predictions.assign(subset="external", logit=-predictions["logit"])
    elsewhere = metrics | {"subsets": {"external": {}}}
    return FinishedScores(
        [
            Scores(elsewhere, lambda: worse, lambda: worse),
            Scores(metrics, lambda: predictions, lambda: predictions),
        ]
    )


@pytest.fixture(scope="module")
def finished_run(material, tmp_path_factory):
    ours, turned = make_detector(), make_detector(-1.0)
    own = own_scores(ours, np.random.default_rng(0))
    path = tmp_path_factory.mktemp("run")
    detectors = {"ours": ours, "turned": turned}
    return detectors, *run(material, path, detectors, own)


def test_the_matrix_holds_each_detector_on_each_set(finished_run):
    _, predictions, lost, table, _ = finished_run
    areas = table.query("level == 'image' and metric == 'roc_auc'").set_index(["detector", "set"])
    assert set(areas.index) == {(n, s) for s in ("easy", "hard") for n in ("ours", "turned")}
    assert areas.loc[("ours", "easy"), "value"] > 0.95
    assert areas.loc[("ours", "hard"), "low"] < 0.5 < areas.loc[("ours", "hard"), "high"]
    assert areas.loc[("turned", "easy"), "value"] == pytest.approx(
        1 - areas.loc[("ours", "easy"), "value"]
    )
    kinds = table.query("metric == 'recall_of_kind' and detector == 'ours' and set == 'easy'")
    assert set(kinds["class_name"]) == {"fake_swap", "fake_reenactment"}
    damaged = lost[lost["path"] == "real/7.png"]
    assert set(damaged["detector"]) == {"ours", "turned"}
    assert set(lost.loc[lost["path"] == "", "set"]) == {"nowhere"}
    assert len(predictions.query("detector == 'ours' and set == 'easy'")) == 179


def test_the_drop_is_against_the_own_test_set_where_it_is_known(finished_run):
    _, _, _, table, _ = finished_run
    areas = table.query("level == 'image' and metric == 'roc_auc'").set_index(["detector", "set"])
    hard = areas.loc[("ours", "hard")]
    assert hard["own_value"] == pytest.approx(1)
    assert hard["drop"] == pytest.approx(hard["value"] - hard["own_value"])
    assert hard["drop_low"] < hard["drop"] < hard["drop_high"] < 0
    assert areas.loc["turned"]["drop"].isna().all()


def test_every_two_detectors_are_compared_on_each_set(finished_run):
    _, _, _, table, pairs = finished_run
    areas = table.query("level == 'image' and metric == 'roc_auc'").set_index(["detector", "set"])
    found = pairs.query("metric == 'roc_auc' and level == 'image'").set_index("set")
    assert set(found.index) == {"easy", "hard"}
    difference = areas.loc[("ours", "easy"), "value"] - areas.loc[("turned", "easy"), "value"]
    assert found.loc["easy", "difference"] == pytest.approx(difference)
    assert found.loc["easy", "p_holm"] < 0.001 < found.loc["hard", "p_holm"]


def test_what_was_scored_is_not_scored_again(material, tmp_path, caplog):
    detector = make_detector()
    calls = []
    plain = detector.network.forward
    detector.network.forward = lambda batch: calls.append(len(batch)) or plain(batch)
    first = run(material, tmp_path, {"ours": detector})
    scored = sum(calls)
    again = run(material, tmp_path, {"other name": detector})
    assert sum(calls) == scored > 0
    for one, other in zip(first[:3], again[:3], strict=True):
        pd.testing.assert_frame_equal(
            one.drop(columns="detector"), other.drop(columns="detector"), check_dtype=False
        )
    changed = dataclasses.replace(detector.card, threshold=0.6)
    run(material, tmp_path, {"ours": dataclasses.replace(detector, card=changed)})
    assert sum(calls) == 2 * scored


def test_a_detector_is_not_scored_on_what_it_was_trained_on(material, tmp_path, caplog):
    folder, _ = material
    plain = run(material, tmp_path, {"ours": make_detector()})[0]
    seen = hashlib.sha256((folder / "hard/real/3.png").read_bytes()).hexdigest()
    knowing = dataclasses.replace(make_detector(), trained_on=pack_hashes([seen]))
    with caplog.at_level(logging.WARNING):
        predictions, lost, *_ = run(material, tmp_path, {"ours": knowing})
    assert set(predictions["set"]) == {"easy"} != set(plain["set"])
    assert set(lost.loc[lost["path"] == "", "set"]) == {"hard", "nowhere"}


def test_faces_are_cut_by_the_detectors_own_recipe(tmp_path):
    """Videos of two people, for a detector of crops of another size than the parameters'."""
    draw_videos(tmp_path / "videos")
    settings = face_settings()
    weights = make_face_detector(settings).weights_sha256
    own = settings.crop.model_copy(update={"size": 48, "margin": 1.9})
    recipe = CropRecipe.of(settings, own, weights)
    detector = make_detector(
        split={"method": "group", "fingerprint": "ab" * 32, "note": None,
               "crop_recipe": recipe.model_dump()}
    )  # fmt: skip
    sets = make_sets(
        videos={"path": "videos", "faces": "find", "layout": "faceforensics",
                "layout_options": {"compression": "c23"}}
    )  # fmt: skip
    predictions, lost = score_sets(
        {"ours": detector}, tmp_path, tmp_path / "crops", tmp_path / "scores", sets, settings,
        EVALUATION,
    )  # fmt: skip
    crops = list((tmp_path / "crops").rglob("*.png"))
    assert {Image.open(path).size for path in crops} == {(48, 48)}
    assert len(crops) == len(predictions)
    sources = predictions.groupby("source").size()
    assert (sources > 1).all()
    table = measure_sets(predictions, {"ours": detector}, FinishedScores(), EVALUATION)
    by_video = table.query("level == 'source' and metric == 'accuracy'")["n"].iloc[0]
    assert by_video == len(predictions.groupby(["class_name", "source"]))
    assert set(lost.columns) == {"detector", "set", "path", "frame", "reason"}


def test_a_detector_of_equalised_copies_gets_equalised_copies(material, tmp_path):
    plain = make_detector()
    equalise = {"side": 16, "cut": 0.0, "quality": 60}
    settings = plain.card.settings | {"data_preparation": {"equalise": equalise}}
    alike = dataclasses.replace(plain, card=dataclasses.replace(plain.card, settings=settings))
    predictions, *_ = run(material, tmp_path, {"plain": plain, "alike": alike})
    copies = list((tmp_path / "crops/equalised").glob("*/real/0.png"))
    assert len(copies) == 2
    for path in copies:
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (16, 16))
    by_name = predictions.set_index(["set", "path"]).groupby("detector")["logit"]
    logits = dict(list(by_name))
    assert (logits["plain"] != logits["alike"]).mean() > 0.5


def test_a_set_that_calibrated_the_detector_and_other_images_are_left_out(material, tmp_path):
    folder, _ = material
    plain = make_detector()
    hashes = [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "hard").rglob("*.png")
    ]
    knowing = dataclasses.replace(plain, validated_on=pack_hashes(hashes))
    predictions, lost, *_ = run(material, tmp_path, {"ours": knowing})
    assert set(predictions["set"]) == {"easy"}
    assert "hard" in set(lost.loc[lost["path"] == "", "set"])
    # a detector of other images does not keep the others from being compared
    predictions = run(material, tmp_path, {"one": plain, "two": make_detector(-1.0)})[0]
    strange = predictions[predictions["detector"] == "one"].assign(detector="three")
    strange["path"] = "x/" + strange["path"]
    detectors = {"one": plain, "two": make_detector(-1.0), "three": plain}
    pairs = compare_on_sets(pd.concat([predictions, strange]), detectors, EVALUATION)
    assert set(pairs["detector"]) | set(pairs["other_detector"]) == {"one", "two"}


def test_no_set_and_no_readable_set_are_errors(tmp_path):
    for sets, named in ((make_sets(), "names no set"), (make_sets(far={"path": "far"}), "far")):
        with pytest.raises(UserError, match=named):
            score_sets(
                {"ours": make_detector()}, tmp_path, tmp_path, tmp_path, sets, face_settings(),
                EVALUATION,
            )  # fmt: skip


def test_sets_of_a_protocol_take_the_users_paths(tmp_path):
    listed = {"one": {"path": "a", "note": "n"}, "two": {"path": "b"}}
    protocols = {"all": {"trained_on": "x", "sets": listed}}
    sets = make_sets("all", protocols, one={"path": "mine"}, two=None).sets
    assert {name: (each.path, each.note) for name, each in sets.items()} == {"one": ("mine", "n")}
    assert make_sets(None, protocols).sets == {}
    with pytest.raises(UserError, match="all"):
        make_sets("al", protocols)


def test_named_detectors_are_opened_and_a_mistake_names_its_parameter(tmp_path):
    (tmp_path / "s.csv").write_text("path,score\na.png,1\n")
    named = GeneralisationParameters(detectors={"table": "s.csv"}, sets={}, trained_on=None)
    opened = open_detectors(lambda path: load_score_table(tmp_path / path), named)
    assert list(opened) == ["table"]
    wrong = GeneralisationParameters(detectors={"table": "none.csv"}, sets={}, trained_on=None)
    with pytest.raises(UserError, match=r"generalisation\.detectors\.table"):
        open_detectors(lambda path: load_score_table(tmp_path / path), wrong)
    assert list(take_one_detector(make_detector())) == ["detector"]


PUBLISHED = PublishedResults.model_validate(
    {
        "figures": [
            {"detector": "LSDA", "trained_on": "FF++", "tested_on": "Celeb-DF v2", "level": level,
             "metric": "roc_auc", "value": value, "picked_on_test": None, "source": "arXiv",
             "second_hand": False}
            for level, value in (("frame", 0.83), ("video", 0.911))
        ]
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def page(material, finished_run):
    _, sets = material
    detectors, _, lost, table, pairs = finished_run
    written, figure = report_generalisation(
        table, pairs, lost, detectors, sets, PUBLISHED, EVALUATION
    )
    return written, figure


def test_the_page_says_what_was_found(page, tmp_path):
    written, _ = page
    elements = Elements(written)
    elements.check_document()
    assert show_on_a_phone(written, tmp_path) == HARMLESS | {"scripts": 0}
    for said in ("0.911", "LSDA", "nowhere", "fake_swap"):
        assert said in elements.words
    assert "<b>drawn</b>" in elements.words


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_accessibility_checker_finds_nothing_serious_on_the_page(page, tmp_path, scheme):
    (tmp_path / "page.html").write_text(page[0], encoding="utf-8")
    with open_tab(tmp_path) as tab:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        tab.ask("Emulation.setEmulatedMedia", features=features)
        tab.show(tmp_path / "page.html")
        assert find_barriers(tab) == []


def test_the_figure_draws_each_detector_on_each_set(page, finished_run):
    _, _, _, table, _ = finished_run
    axes = page[1].axes[0]
    points = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 1]
    drawn = {round(float(each[0]), 6) for each in points}
    areas = table.query("level == 'image' and metric == 'roc_auc'")
    assert {round(value, 6) for value in areas["value"]} <= drawn
    assert [label.get_text() for label in axes.get_yticklabels()] == ["easy", "hard"]
    low, high = axes.get_xlim()
    assert low < areas["low"].min()
    assert high > 1
