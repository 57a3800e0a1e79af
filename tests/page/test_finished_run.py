"""The test score and the examples that lie beside a detector in its project."""

import csv
import json
from dataclasses import replace

import pytest
from detector_samples import build_detector

from deepfake_detection.images.fingerprints import pack_hashes
from deepfake_detection.page.finished_run import FinishedRun, find_run
from deepfake_detection.page.statements import describe_detector

ACCURACY = {"value": 0.839, "low": 0.75, "high": 0.9, "n": 180}
VERSION = "2026-01-01T00.00.00.000Z"


@pytest.fixture
def project(tmp_path, put_files, encode, photograph):
    """A demo's files, and where its detector would be."""
    subsets = {"train": 1, "validation": 2, "test": 3}
    rows, pictures = [], {}
    for subset, seed in subsets.items():
        for label in (0, 1):
            path = f"{label}/{subset}.png"
            pictures[f"01_raw/generated_faces/{path}"] = encode(photograph(seed + 10 * label))
            rows.append({"path": path, "label": label, "source": path, "subset": subset})
    rows.append({"path": "../../secret.png", "label": 0, "source": "x", "subset": "test"})
    pictures["secret.png"] = encode(photograph(99))
    put_files(tmp_path, pictures)
    card = build_detector().card
    run = {name: getattr(card, name) for name in ("run_fingerprint", "threshold", "temperature")}
    metrics = run | {"subsets": {"test": {"images": {"accuracy": ACCURACY}}}}
    output = tmp_path / "07_model_output/resnet18"
    for name in ("metrics.json", "predictions.csv"):
        (output / name / VERSION).mkdir(parents=True)
    (output / "metrics.json" / VERSION / "metrics.json").write_text(json.dumps(metrics))
    with (output / "predictions.csv" / VERSION / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def find(project, **changes):
    detector = build_detector()
    detector = replace(detector, card=replace(detector.card, **changes))
    return find_run(detector, project / "06_models/resnet18/detector.safetensors")


def test_test_score_is_told_with_its_interval(project):
    run = find(project)
    assert run.test_scores["accuracy"] == ACCURACY
    (statement,) = describe_detector(build_detector(), run.test_scores)
    for told in ("180 test images", "83.9 %", "75.0 %", "90.0 %"):
        assert told in statement.text
    assert "validation" not in statement.text
    assert "unknown here" in describe_detector(build_detector())[-1].text


def test_examples_are_no_training_images(project):
    examples = find(project).examples
    names = [example.path.relative_to(project).as_posix() for example in examples]
    # test before validation
    assert [name.rsplit("/", 1)[1] for name in names[:2]] == ["test.png", "test.png"]
    assert not any("secret" in name for name in names)
    detector = build_detector()
    trained = pack_hashes([hash_of(each.path) for each in examples])
    path = project / "06_models/resnet18/detector.safetensors"
    assert find_run(replace(detector, trained_on=trained), path).examples == ()


def hash_of(path):
    from hashlib import sha256

    return sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("changes", [{"run_fingerprint": "12" * 32}, {"threshold": 0.7}])
def test_scores_of_another_detector_are_not_taken(project, changes):
    assert find(project, **changes) == FinishedRun()


def test_a_detector_outside_of_a_project_has_none(tmp_path):
    assert find_run(build_detector(), tmp_path / "detector.safetensors") == FinishedRun()
