"""Finished trainings and scores are found by their run, among all versions."""

import json
import os
from dataclasses import replace
from unittest import mock

import pandas as pd
import pytest
from detector_samples import build_detector

from deepfake_detection.datasets.finished_runs import (
    FinishedComparisonsDataset,
    FinishedReportsDataset,
    FinishedRunsDataset,
    FinishedScoresDataset,
)
from deepfake_detection.errors import UserError
from deepfake_detection.models import detector_file as detector_files
from deepfake_detection.models.detector_file import DetectorFile, write_detector
from deepfake_detection.parameters import EvaluationParameters

DETECTOR = "uncalibrated_detector.safetensors"
EVALUATION = EvaluationParameters(
    batch_size=4, confidence=0.95, calibration_bins=5, few_groups=1, label_issues=5, device="cpu"
)


@pytest.fixture
def keep(tmp_path):
    detector = build_detector()

    def put(version, run, epochs=1):
        card = replace(detector.card, run_fingerprint=run)
        path = tmp_path / DETECTOR / version / DETECTOR
        write_detector(replace(detector, card=card), path)
        history, logits = (
            tmp_path / name / version / name
            for name in ("training_history.csv", "validation_logits.parquet")
        )
        table = pd.DataFrame({"epoch": range(1, epochs + 1)})
        history.parent.mkdir(parents=True)
        table.to_csv(history, index=False)
        logits.parent.mkdir(parents=True)
        table.to_parquet(logits)
        return path

    return put


def test_the_newest_training_of_each_run_is_found_that_is_whole(tmp_path, keep, caplog):
    keep("2026-01-01", "a")
    wanted = keep("2026-01-02", "a", epochs=3)
    keep("2026-01-03", "b")
    damaged = keep("2026-01-04", "a")
    damaged.write_bytes(damaged.read_bytes()[:100])
    for day, name in ((5, "training_history.csv"), (6, "validation_logits.parquet")):
        keep(f"2026-01-0{day}", "a")
        (tmp_path / name / f"2026-01-0{day}" / name).unlink()
    runs = FinishedRunsDataset(filepath=str(tmp_path)).load()
    assert set(runs) == {"a", "b"}
    assert runs["a"].detector.path == wanted
    assert len(runs["a"].read_history()) == len(runs["a"].read_validation_logits()) == 3
    assert str(damaged) in caplog.text
    assert FinishedRunsDataset(filepath=str(tmp_path / "nowhere")).load() == {}


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_put_elsewhere_by_a_link_or_where_there_are_none_by_a_copy(
    links, tmp_path, keep, monkeypatch
):
    path, to = keep("2026-01-01", "a"), tmp_path / "to" / "detector.safetensors"
    if not links:
        refuse = mock.Mock(side_effect=OSError(1, "Operation not permitted"))
        monkeypatch.setattr(os, "link", refuse)
    DetectorFile(path).put(to)
    assert to.samefile(path) == links
    assert to.read_bytes() == path.read_bytes()
    assert [each.name for each in to.parent.iterdir()] == [to.name]


def test_a_card_is_read_without_the_weights(keep, monkeypatch, tmp_path):
    path = keep("2026-01-01", "a")
    monkeypatch.setattr(detector_files, "build_detecting_network", None)
    assert DetectorFile(path).read_card().run_fingerprint == "a"
    with pytest.raises(UserError, match="none"):
        DetectorFile(tmp_path / "none").read_card()


def _put_scores(folder, version, value, **metrics):
    for name in ("metrics.json", "metric_table.csv", "predictions.csv"):
        (folder / name / version).mkdir(parents=True)
    (folder / "metrics.json" / version / "metrics.json").write_text(json.dumps(metrics))
    table = pd.DataFrame({"metric": ["accuracy"], "value": [value], "class_name": ["NA"]})
    for name in ("metric_table.csv", "predictions.csv"):
        table.to_csv(folder / name / version / name, index=False)


def test_scores_are_found_by_run_calibration_and_evaluation(tmp_path):
    card = build_detector(run_fingerprint="a").card
    own = {
        "run_fingerprint": "a",
        "threshold": card.threshold,
        "temperature": card.temperature,
        "evaluation": EVALUATION.model_dump(mode="json"),
    }
    _put_scores(tmp_path, "2026-01-01", 0.1, **own)
    _put_scores(tmp_path, "2026-01-02", 0.2, **own)
    _put_scores(tmp_path, "2026-01-03", 0.3, **own | {"threshold": 0.9})
    _put_scores(tmp_path, "2026-01-04", 0.4, **own | {"run_fingerprint": "b"})
    top = {"rule": "top_share", "top_share": 0.5}
    _put_scores(tmp_path, "2026-01-02b", 0.5, **own | {"source_score": top})
    (tmp_path / "metrics.json/2026-01-05").mkdir()
    (tmp_path / "metrics.json/2026-01-05/metrics.json").write_text("{")

    scores = FinishedScoresDataset(filepath=str(tmp_path)).load()
    found = scores.find(card, EVALUATION)
    # those of an older version do not name the source score
    assert found.read_metric_table()["value"].tolist() == [0.2]
    other = replace(card, calibration={"source_score": top})
    assert scores.find(other, EVALUATION).read_metric_table()["value"].tolist() == [0.5]
    assert found.read_predictions()["class_name"].tolist() == ["NA"]
    assert scores.find(card, EVALUATION.model_copy(update={"confidence": 0.9})) is None
    assert scores.find_metric_table("a")["value"].tolist() == [0.3]
    assert scores.find_metric_table("c") is None


def test_the_latest_comparison_is_found_or_there_is_none(tmp_path):
    dataset = FinishedComparisonsDataset(filepath=str(tmp_path))
    assert dataset.load() is None
    name = "compared_predictions.csv"
    for version, detector in (("2026-01-01", "old"), ("2026-01-02", "NA")):
        path = tmp_path / name / version / name
        path.parent.mkdir(parents=True)
        path.write_text(f"path,group,unlikeness,detector\n1.png,7,,{detector}\n")
    row = dataset.load().iloc[0]
    assert (row["detector"], row["group"], row["path"]) == ("NA", "7", "1.png")
    assert pd.isna(row["unlikeness"])


def test_the_newest_report_of_each_run_is_found(tmp_path):
    assert FinishedReportsDataset(filepath=str(tmp_path / "nowhere")).load() == {}
    for run, version, fingerprint in (("a", 1, "x"), ("a", 3, "x"), ("b", 2, "x"), ("b", 4, "y")):
        findings = json.dumps({"run_fingerprint": fingerprint})
        for name, content in (("findings.json", findings), ("report.html", "page")):
            path = tmp_path / run / name / str(version) / name
            path.parent.mkdir(parents=True)
            path.write_text(content)
    dataset = FinishedReportsDataset(filepath=str(tmp_path))
    found = {"x": "a/report.html/3/report.html", "y": "b/report.html/4/report.html"}
    assert dataset.load() == found
    (tmp_path / found["y"]).unlink()
    assert dataset.load().keys() == {"x"}
