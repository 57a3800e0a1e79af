"""Pipelines run in this process on a project of generated faces."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from demo_project import MODEL, change_yaml, latest
from safetensors.torch import load_file

from deepfake_detection import Detector
from deepfake_detection.errors import UserError

MODELS, OUTPUT = f"data/demo/06_models/{MODEL}", f"data/demo/07_model_output/{MODEL}"


def _split(project):
    return pd.read_parquet(latest(project, "data/demo/05_model_input/split.parquet"))


def test_the_same_seed_gives_the_same_detector_bit_for_bit(project, run_here):
    entry = f"{MODELS}/detector.safetensors"
    first = latest(project, entry)
    run_here(project, "training")
    second = latest(project, entry)
    assert second != first
    weights, again = load_file(first), load_file(second)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    history = [
        pd.read_csv(path) for path in sorted((project / MODELS).rglob("*_history.csv/*/*.csv"))
    ]
    timing = ["seconds", "images_per_second"]
    pd.testing.assert_frame_equal(*(each.drop(columns=timing) for each in history))


def test_pixels_straight_from_the_files_give_the_same_detector(project, run_here):
    entry = f"{MODELS}/detector.safetensors"
    stored = load_file(latest(project, entry))
    shutil.rmtree(project / "data/demo/05_model_input/pixel_cache")
    run_here(project, "training", "evaluation", pixels="files")
    assert not list((project / "data/demo/05_model_input/pixel_cache").rglob("*.npy"))
    read = load_file(latest(project, entry))
    assert all(np.array_equal(stored[name], read[name]) for name in stored)


def test_predictions_are_those_of_the_detector_file_on_its_own(demo_project):
    detector = Detector.load(latest(demo_project, f"{MODELS}/detector.safetensors"))
    predictions = pd.read_csv(latest(demo_project, f"{OUTPUT}/predictions.csv"))
    some = predictions.sample(8, random_state=0)
    folder = demo_project / "data/demo/01_raw/generated_faces"
    scores = detector.score([folder / path for path in some["path"]])
    found = [score.fake_probability for score in scores]
    assert np.allclose(found, some["fake_probability"], atol=1e-5)
    assert set(predictions["subset"]) == {"validation", "test"}


def test_the_main_job_explains_its_false_cases(demo_project):
    predictions = pd.read_csv(latest(demo_project, f"{OUTPUT}/predictions.csv"))
    detector = Detector.load(latest(demo_project, f"{MODELS}/detector.safetensors"))
    table = pd.read_csv(latest(demo_project, f"{OUTPUT}/false_case_measures.csv"))
    assert set(table["run_fingerprint"]) == {detector.card.run_fingerprint}
    assert set(table["subset"]) == {"test"}
    of_test = predictions[predictions["subset"] == "test"]
    for (label, kind), rows in table.groupby(["label", "kind"]):
        of_class = of_test[of_test["label"] == label]
        false = (of_class["predicted"] != label).sum()
        assert (kind == "false negative") == (label == 1)
        assert (rows["n_false"] == false).all()
        assert (rows["n_right"] == len(of_class) - false).all()
    for figure in ("heat_maps", "false_case_figure"):
        assert latest(demo_project, f"data/demo/08_reporting/{MODEL}/{figure}.png").stat().st_size


def test_the_detector_knows_where_it_comes_from(demo_project):
    detector = Detector.load(latest(demo_project, f"{MODELS}/detector.safetensors"))
    split = _split(demo_project)
    card = detector.card
    assert card.backbone == card.settings["model"] == MODEL
    assert card.classes == {"real": "real", "fake_deepfake": "fake", "fake_face2face": "fake"}
    assert card.settings["training"]["epochs"] == 2
    assert len(detector.trained_on) == (split["subset"] == "train").sum()
    assert {"torch", "torchvision", "python"} <= card.versions.keys()
    summary = json.loads(
        latest(demo_project, "data/demo/05_model_input/split_summary.json").read_text()
    )
    assert card.split == summary
    assert summary["groups_in_more_than_one_subset"] == 0


def test_another_model_has_its_own_files_beside_the_others(project, run_here):
    sizes = {"resize": 40, "crop": 40}
    change_yaml(project / "conf/demo/parameters.yml", backbones={"mobilenet_v3_small": sizes})
    run_here(project, "training", "evaluation", model="mobilenet_v3_small")
    for model in (MODEL, "mobilenet_v3_small"):
        assert latest(project, f"data/demo/07_model_output/{model}/metrics.json").exists()
    other = Detector.load(
        latest(project, "data/demo/06_models/mobilenet_v3_small/detector.safetensors")
    )
    assert other.preprocessing.crop == 40
    assert len(list((project / "data/demo/05_model_input/pixel_cache").iterdir())) == 2


def test_a_split_made_anew_makes_an_older_detector_unfit(project, run_here):
    run_here(project, "data_preparation", split={"seed": 7})
    with pytest.raises(UserError, match="trained on another split"):
        run_here(project, "evaluation")


def test_a_kept_detector_is_taken_by_its_path(project, run_here):
    own = latest(project, f"{MODELS}/detector.safetensors")
    moved = project / "kept.safetensors"
    shutil.copy(own, moved)
    shutil.rmtree(project / MODELS / "detector.safetensors")
    run_here(project, "evaluation", detector=str(moved))
    assert len(list((project / OUTPUT / "predictions.csv").iterdir())) == 2
    with pytest.raises(UserError, match="don't make it"):
        run_here(project, "training", detector=str(moved))


def _labelled_set(project, folder, subset):
    """Copy a subset of the demo's images into the layout of a set from elsewhere."""
    images = _split(project)
    for row in images[images["subset"] == subset].itertuples():
        to = folder / ("real" if row.label == 0 else "fake") / row.path.replace("/", "-")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / "data/demo/01_raw/generated_faces" / row.path, to)


def test_a_set_from_elsewhere_is_scored_with_a_detector_file(project, tmp_path, run_here):
    _labelled_set(project, tmp_path / "elsewhere", "test")
    detector = latest(project, f"{MODELS}/detector.safetensors")
    given = {"images": str(tmp_path / "elsewhere"), "detector": str(detector)}
    run_here(project, "external_evaluation", **given)
    metrics = json.loads(
        latest(project, "data/demo/07_model_output/external/metrics.json").read_text()
    )
    own = json.loads(latest(project, f"{OUTPUT}/metrics.json").read_text())
    here, there = metrics["subsets"]["external"]["images"], own["subsets"]["test"]["images"]
    assert here["accuracy"]["value"] == pytest.approx(there["accuracy"]["value"])
    assert here["roc_auc"]["value"] == pytest.approx(there["roc_auc"]["value"])
    # and stands beside what the detector did on its own split
    beside = pd.read_csv(latest(project, "data/demo/07_model_output/external/beside_own_split.csv"))
    row = beside[(beside["metric"] == "accuracy") & (beside["level"] == "image")].iloc[0]
    assert row["own_subset"] == "test"
    assert row["own_value"] == pytest.approx(there["accuracy"]["value"])
    assert row["external_value"] == pytest.approx(here["accuracy"]["value"])


def test_another_programs_scores_stand_beside_the_detector_on_each_set(project, tmp_path, run_here):
    _labelled_set(project, tmp_path / "elsewhere", "test")
    detector = latest(project, f"{MODELS}/detector.safetensors")
    run_here(
        project, "external_evaluation", images=str(tmp_path / "elsewhere"), detector=str(detector)
    )
    external = pd.read_csv(latest(project, "data/demo/07_model_output/external/predictions.csv"))
    table = external.rename(columns={"fake_probability": "probability"})
    table[["path", "probability"]].to_csv(project / "theirs.csv", index=False)
    run_here(
        project,
        "generalisation",
        generalisation={
            "detectors": {"ours": str(detector), "theirs": "theirs.csv"},
            "sets": {
                "other_people": None,
                "test": {"path": str(tmp_path / "elsewhere")},
                "nowhere": {"path": "nowhere"},
            },
        },
    )
    output = "data/demo/07_model_output/generalisation"
    matrix = pd.read_csv(latest(project, f"{output}/generalisation_table.csv"))
    areas = matrix.query("level == 'image' and metric == 'roc_auc'").set_index("detector")
    assert set(areas["set"]) == {"test"}
    own = json.loads(latest(project, f"{OUTPUT}/metrics.json").read_text())["subsets"]["test"]
    assert areas["value"].tolist() == pytest.approx([own["images"]["roc_auc"]["value"]] * 2)
    # the same images are its own test set: nothing is lost there, as far as it is known
    assert areas.loc["ours", "drop"] == pytest.approx(0)
    assert np.isnan(areas.loc["theirs", "drop"])
    pairs = pd.read_csv(latest(project, f"{output}/set_differences.csv"))
    assert np.allclose(pairs["difference"].dropna(), 0, atol=1e-6)
    lost = pd.read_csv(latest(project, f"{output}/lost_of_sets.csv"))
    assert set(lost["set"]) == {"nowhere"}
    page = "data/demo/08_reporting/generalisation/generalisation.html"
    assert "nowhere" in latest(project, page).read_text(encoding="utf-8")


def test_a_set_that_the_detector_was_trained_on_is_refused(project, tmp_path, run_here):
    _labelled_set(project, tmp_path / "elsewhere", "train")
    with pytest.raises(UserError, match=r"trained on 90 of the 90 images"):
        run_here(project, "external_evaluation", images=str(tmp_path / "elsewhere"))


def test_a_model_set_in_the_wrong_file_is_refused(demo_project, project, run_here):
    change_yaml(project / "conf/demo/parameters.yml", model="resnet18")
    with pytest.raises(UserError, match=r"set model in globals\.yml"):
        run_here(project, "evaluation")


def test_rejected_images_are_listed_before_a_run_stops_for_them(project, run_here):
    broken = project / "data/demo/01_raw/generated_faces/real/3.jpg"
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(UserError, match=r"1 of 150 files.*real/3\.jpg"):
        run_here(project, "data_preparation", data_preparation={"max_rejected_share": 0})
    listed = pd.read_csv(latest(project, "data/demo/02_intermediate/rejected_images.csv"))
    assert listed["path"].tolist() == ["real/3.jpg"]
    assert "damaged" in listed["reason"].iloc[0]


def test_a_picture_that_changed_since_it_was_indexed_is_named(project, run_here):
    shutil.rmtree(project / "data/demo/05_model_input/pixel_cache")
    changed = project / "data/demo/01_raw/generated_faces/real/3.jpg"
    shutil.copy(changed.with_name("4.jpg"), changed)
    with pytest.raises(UserError, match=r"3\.jpg has changed since it was indexed"):
        run_here(project, "training")
    assert not list((project / "data/demo/05_model_input/pixel_cache").iterdir())


def test_another_threshold_needs_no_training_and_two_detectors_are_compared(
    project, run_here, caplog
):
    entry = f"{MODELS}/detector.safetensors"
    plain = latest(project, entry)
    change_yaml(
        project / "conf/demo/parameters.yml",
        calibration={"threshold": {"rule": "equal_error"}, "temperature": {"rule": "scaling"}},
    )
    run_here(project, "calibration")
    fitted = latest(project, entry)
    first, second = Detector.load(plain), Detector.load(fitted)
    assert fitted != plain
    assert second.card.calibration["fitted"] == ["threshold", "temperature"]
    assert second.card.run_fingerprint == first.card.run_fingerprint
    with pytest.raises(UserError, match="evaluation"):
        run_here(project, "reporting")
    run_here(project, "evaluation", "reporting")
    metrics = json.loads(latest(project, f"{OUTPUT}/metrics.json").read_text())
    assert metrics["threshold"] == second.card.threshold
    report = latest(project, f"data/demo/08_reporting/{MODEL}/report.html").read_text()
    assert "the epoch, the threshold and the temperature" in report

    run_here(project, "paired_comparison", other_detector=str(plain))
    compared = "data/demo/07_model_output/paired_comparison/paired_differences.csv"
    table = pd.read_csv(latest(project, compared))
    assert set(table["subset"]) == {"validation", "test"}
    # a temperature changes no order
    assert (table.loc[table["metric"] == "roc_auc", "difference"] == 0).all()
    assert (table.loc[table["metric"] == "log_loss", "difference"] != 0).any()

    run_here(project, "sample_size")
    sizes = pd.read_csv(latest(project, f"{OUTPUT}/sample_sizes.csv"))
    assert set(sizes["purpose"]) == {"width", "difference"}
    assert sizes["other_detector"].nunique() == 1
    assert (sizes["groups"].dropna() >= 2).all()


def test_detectors_that_parameters_name_are_compared_and_pixels_of_one_size_made_once(
    project, run_here, caplog
):
    plain = latest(project, f"{MODELS}/detector.safetensors")
    # one as a folder of versions, one beside the project
    away = str(shutil.copy(plain, project.parent / "away.safetensors"))
    detectors = {"own": f"{MODELS}/detector.safetensors", "away": away, "again": str(plain)}
    with caplog.at_level("INFO"):
        run_here(project, "paired_comparison", paired_comparison={"detectors": detectors})
    assert caplog.text.count("Pixel cache") == 1
    folder = "data/demo/07_model_output/paired_comparison"
    table = pd.read_csv(latest(project, f"{folder}/paired_differences.csv"))
    pairs = table[["detector", "other_detector"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [["own", "away"], ["own", "again"], ["away", "again"]]
    assert latest(project, "data/demo/08_reporting/paired_comparison/paired_figure.png").exists()
    with pytest.raises(UserError, match=r"nowhere\.safetensors"):
        run_here(
            project, "paired_comparison",
            paired_comparison={"detectors": {"own": str(plain), "none": "nowhere.safetensors"}},
        )  # fmt: skip


def test_a_comparison_without_another_detector_says_how_to_give_one(project, run_here):
    with pytest.raises(UserError, match=r"no detector to compare with.*other_detector="):
        run_here(project, "paired_comparison")
