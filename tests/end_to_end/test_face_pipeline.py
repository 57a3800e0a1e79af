"""The demo's videos all the way: extraction, preparation, training, report."""

import json
import re

import pandas as pd
import pytest
from demo_project import MODEL, latest, make_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from deepfake_detection import Detector


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project that went all the way."""
    project = make_project(tmp_path_factory.mktemp("faces") / "project")
    bootstrap_project(project)
    params = {"data_preparation": {"images": "faces"}, "split": {"method": "official"}}
    for pipelines, given in (["face_extraction"], {}), (["__default__"], params):
        with KedroSession.create(project, env="demo", runtime_params=given) as session:
            session.run(pipeline_names=pipelines)
    return project


def test_groups_of_videos_stay_together_and_subsets_are_the_official_ones(project):
    split = pd.read_parquet(latest(project, "data/demo/05_model_input/split.parquet"))
    lists = project / "data/demo/01_raw/generated_videos/splits"
    for name, subset in {"train": "train", "val": "validation", "test": "test"}.items():
        pairs = json.loads((lists / f"{name}.json").read_text())
        videos = {video for pair in pairs for video in pair}
        found = split.loc[split["subset"] == subset, "source"].str.split("/").str[-1]
        assert {part for source in found for part in source.split("_")} == videos
    assert split.groupby("group")["subset"].nunique().max() == 1
    assert split["source"].nunique() == 24


def test_scores_are_of_frames_and_of_videos(project):
    table = pd.read_csv(latest(project, f"data/demo/07_model_output/{MODEL}/metric_table.csv"))
    test = table[(table["subset"] == "test") & (table["metric"] == "accuracy")]
    counts = dict(zip(test["level"], test["n"], strict=True))
    assert counts["source"] == 6
    assert counts["image"] == 24
    kinds = table[(table["subset"] == "test") & (table["metric"] == "roc_auc_of_kind")]
    counts = kinds.set_index(["class_name", "level"])["n"].to_dict()
    # of each kind and of real ones, two videos of four frames each
    assert counts == {
        (kind, level): n
        for kind in ("Deepfakes", "Face2Face") for level, n in (("image", 16), ("source", 4))
    }  # fmt: skip
    page = latest(project, f"data/demo/08_reporting/{MODEL}/report.html").read_text()
    heads = re.findall(r'class="beneath">(by \w+)<', page)
    assert set(heads) == {"by frame", "by video"}
    # that the faces are drawn
    detector = latest(project, f"data/demo/06_models/{MODEL}/detector.safetensors")
    assert Detector.load(detector).card.split["note"].strip() in page


def test_the_detector_knows_its_crop_recipe(project):
    path = latest(project, f"data/demo/06_models/{MODEL}/detector.safetensors")
    recipe = Detector.load(path).card.split["crop_recipe"]
    assert recipe["detector"] == "centerface"
    assert recipe["crop"]["margin"] == 1.5
