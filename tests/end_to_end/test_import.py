"""A published checkpoint becomes a detector, is calibrated on labelled images, and is used."""

import numpy as np
import pandas as pd
import pytest
import torch
from demo_project import MODEL, change_yaml, latest

from deepfake_detection import Detector
from deepfake_detection.images.fingerprints import unpack_hashes

MODELS = "data/demo/06_models"
EXTERNAL = "data/demo/07_model_output/external"
INDEXED = "data/demo/02_intermediate/external"
FACES = "data/demo/01_raw/generated_faces"
UNKNOWN = "training images are unknown"


def test_a_checkpoint_is_imported_calibrated_and_used(project, run_here, tmp_path):
    trained = Detector.load(project / f"{MODELS}/{MODEL}/detector.safetensors")
    published = tmp_path / "published.pth"
    state = {f"module.{name}": value for name, value in trained.network.state_dict().items()}
    torch.save({"state_dict": state}, published)
    change_yaml(
        project / "conf/demo/parameters_external_evaluation.yml",
        external_evaluation={
            "classes": {"fake": None, "fake_deepfake": "fake", "fake_face2face": "fake"},
            "source": {"rule": "consecutive"},
            "group": {"rule": "same_number"},
        },
    )
    told = {"source": "A paper", "fakes": ["fake_deepfake", "fake_face2face"]}
    run_here(project, "import_checkpoint", checkpoint=str(published), import_checkpoint=told)
    entry = f"{MODELS}/{MODEL}/imported_detector.safetensors"
    imported = Detector.load(project / entry)
    assert imported.card.imported_from == "A paper"
    pixels = np.zeros((1, 48, 48, 3), np.uint8)
    assert imported.logits(pixels) == pytest.approx(trained.logits(pixels), abs=1e-5)

    rules = {"threshold": {"rule": "equal_error"}, "temperature": {"rule": "scaling"}}
    images = {"images": FACES}
    run_here(project, "external_calibration", **images, detector=entry, calibration=rules)
    calibrated = Detector.load(project / f"{MODELS}/external/calibrated_detector.safetensors")
    assert calibrated.card.calibration["fitted"] == ["threshold", "temperature"]
    assert calibrated.card.imported_from == "A paper"
    index = pd.read_parquet(
        latest(project, "data/demo/02_intermediate/external/image_index.parquet")
    )
    chose = index["sha256"].isin(unpack_hashes(calibrated.validated_on))
    assert 0 < chose.sum() < len(index)
    assert index.groupby("group")["sha256"].nunique().gt(1).all()
    assert not set(index.loc[chose, "group"]) & set(index.loc[~chose, "group"])
    predictions = pd.read_csv(latest(project, f"{EXTERNAL}/predictions.csv"))
    by_subset = predictions.groupby("subset")["path"].agg(set)
    assert by_subset["validation"] == set(index.loc[chose, "path"])
    assert by_subset["external"] == set(index.loc[~chose, "path"])

    # what calibrated it is scored apart ever after, and every row says what is unknown
    given = {"detector": f"{MODELS}/external/calibrated_detector.safetensors"}
    run_here(project, "external_evaluation", **images, **given)
    table = pd.read_csv(latest(project, f"{EXTERNAL}/metric_table.csv"))
    accuracy = table[(table["metric"] == "accuracy") & (table["level"] == "image")]
    assert dict(zip(accuracy["subset"], accuracy["n"], strict=True)) == {
        "validation": chose.sum(), "external": (~chose).sum(),
    }  # fmt: skip
    defined = table[table["value"].notna()]
    assert defined["note"].str.contains(UNKNOWN).all()
    of_validation = defined[defined["subset"] == "validation"]["note"]
    assert of_validation.str.contains("chose the threshold and the temperature").all()


def test_a_file_of_another_network_ends_in_one_line(demo_project, kedro, tmp_path):
    torch.save({"fc.weight": torch.zeros(2, 4)}, tmp_path / "other.pth")
    done = kedro(
        demo_project, "run", "--env", "demo", "--pipelines", "import_checkpoint",
        "--params", f"checkpoint={tmp_path}/other.pth",
    )  # fmt: skip
    assert done.returncode == 1
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith(f"Error: parameter 'checkpoint': {tmp_path}/other.pth ")
    assert MODEL in last
