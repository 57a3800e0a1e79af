"""Finished trainings and scores are found by their run, among all versions."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from detector_samples import build_detector

from deepfake_detection.datasets.finished_runs import FinishedRunsDataset, FinishedScoresDataset
from deepfake_detection.errors import UserError
from deepfake_detection.models import detector_file as detector_files
from deepfake_detection.models.detector_file import DetectorFile, write_detector
from deepfake_detection.parameters import EvaluationParameters
from deepfake_detection.training.results import FinishedRuns

Keep = Callable[..., Path]
DETECTOR = "uncalibrated_detector.safetensors"
EVALUATION = EvaluationParameters(
    batch_size=4, confidence=0.95, calibration_bins=5, few_groups=1, label_issues=5, device="cpu"
)


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    detector = build_detector()

    def put(version: str, run: str, epochs: int = 1) -> Path:
        card = replace(detector.card, run_fingerprint=run)
        path = tmp_path / DETECTOR / version / DETECTOR
        write_detector(replace(detector, card=card), path)
        table = pd.DataFrame({"epoch": range(1, epochs + 1)})
        for name in ("training_history.csv", "validation_logits.parquet"):
            (tmp_path / name / version).mkdir(parents=True)
        table.to_csv(tmp_path / f"training_history.csv/{version}/training_history.csv", index=False)
        table.to_parquet(
            tmp_path / f"validation_logits.parquet/{version}/validation_logits.parquet"
        )
        return path

    return put


def _load(folder: Path) -> FinishedRuns:
    return FinishedRunsDataset(filepath=str(folder)).load()


def test_the_newest_training_of_each_run_is_found(tmp_path: Path, keep: Keep) -> None:
    keep("2026-01-01", "a")
    wanted = keep("2026-01-02", "a", epochs=3)
    keep("2026-01-03", "b")
    runs = _load(tmp_path)
    assert set(runs) == {"a", "b"}
    assert runs["a"].detector.path == wanted
    assert len(runs["a"].read_history()) == len(runs["a"].read_validation_logits()) == 3
    assert _load(tmp_path / "nowhere") == {}


def test_a_damaged_detector_is_ignored_and_named(
    tmp_path: Path, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    older, newer = keep("2026-01-01", "a"), keep("2026-01-02", "a")
    newer.write_bytes(newer.read_bytes()[:100])
    assert _load(tmp_path)["a"].detector.path == older
    assert str(newer) in caplog.text


@pytest.mark.parametrize("name", ["training_history.csv", "validation_logits.parquet"])
def test_a_training_that_is_not_complete_does_not_count(
    name: str, tmp_path: Path, keep: Keep
) -> None:
    keep("2026-01-01", "a")
    (tmp_path / name / "2026-01-01" / name).unlink()
    assert _load(tmp_path) == {}


@pytest.mark.parametrize("links", [True, False])
def test_a_file_is_put_elsewhere_by_a_link_or_where_there_are_none_by_a_copy(
    links: bool, tmp_path: Path, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, to = keep("2026-01-01", "a"), tmp_path / "to" / "detector.safetensors"
    if not links:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    DetectorFile(path).put(to)
    assert to.samefile(path) == links
    assert to.read_bytes() == path.read_bytes()
    assert [each.name for each in to.parent.iterdir()] == [to.name]


def test_a_card_is_read_without_the_weights(
    keep: Keep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = keep("2026-01-01", "a")
    monkeypatch.setattr(detector_files, "build_detecting_network", None)
    assert DetectorFile(path).read_card().run_fingerprint == "a"
    with pytest.raises(UserError, match="none"):
        DetectorFile(tmp_path / "none").read_card()


def _put_scores(folder: Path, version: str, value: float, **metrics: object) -> None:
    for name in ("metrics.json", "metric_table.csv", "predictions.csv"):
        (folder / name / version).mkdir(parents=True)
    (folder / "metrics.json" / version / "metrics.json").write_text(json.dumps(metrics))
    table = pd.DataFrame({"metric": ["accuracy"], "value": [value], "class_name": ["NA"]})
    for name in ("metric_table.csv", "predictions.csv"):
        table.to_csv(folder / name / version / name, index=False)


def test_scores_are_found_by_run_calibration_and_evaluation(tmp_path: Path) -> None:
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
    (tmp_path / "metrics.json/2026-01-05").mkdir()
    (tmp_path / "metrics.json/2026-01-05/metrics.json").write_text("{")

    scores = FinishedScoresDataset(filepath=str(tmp_path)).load()
    found = scores.find(card, EVALUATION)
    assert found is not None
    assert found.read_metric_table()["value"].tolist() == [0.2]
    assert found.read_predictions()["class_name"].tolist() == ["NA"]
    assert scores.find(card, EVALUATION.model_copy(update={"confidence": 0.9})) is None
    newest = scores.find_metric_table("a")
    assert newest is not None
    assert newest["value"].tolist() == [0.3]
    assert scores.find_metric_table("c") is None
