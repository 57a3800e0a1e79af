"""Finished runs are found by their fingerprints, among all versions."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from detector_samples import build_detector

from deepfake_detection.errors import UserError
from deepfake_detection.metrics.finished import KeptMetrics
from deepfake_detection.models import detector_file as detector_files
from deepfake_detection.models.detector_file import DetectorFile, write_detector
from deepfake_detection.training.run_store import FinishedTrainings

Keep = Callable[..., Path]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    detector = build_detector()

    def put(version: str, run: str, epochs: int = 1) -> Path:
        card = replace(detector.card, run_fingerprint=run)
        path = tmp_path / "detector.safetensors" / version / "detector.safetensors"
        write_detector(replace(detector, card=card), path)
        history = tmp_path / "training_history.csv" / version / "training_history.csv"
        history.parent.mkdir(parents=True)
        pd.DataFrame({"epoch": range(1, epochs + 1)}).to_csv(history, index=False)
        return path

    return put


def test_the_latest_of_a_run_is_found_whatever_came_after(tmp_path: Path, keep: Keep) -> None:
    keep("2026-01-01", "a")
    wanted = keep("2026-01-02", "a", epochs=3)
    keep("2026-01-03", "b")
    found = FinishedTrainings(tmp_path).find("a")
    assert found is not None
    assert found.detector.path == wanted
    assert len(found.history) == 3
    assert FinishedTrainings(tmp_path).find("c") is None
    assert FinishedTrainings(tmp_path / "nowhere").find("a") is None


def test_a_damaged_detector_is_passed_over_and_named(
    tmp_path: Path, keep: Keep, caplog: pytest.LogCaptureFixture
) -> None:
    older = keep("2026-01-01", "a")
    newer = keep("2026-01-02", "a")
    newer.write_bytes(newer.read_bytes()[:100])
    found = FinishedTrainings(tmp_path).find("a")
    assert found is not None
    assert found.detector.path == older
    assert str(newer) in caplog.text


def test_a_detector_without_its_history_does_not_count(tmp_path: Path, keep: Keep) -> None:
    keep("2026-01-01", "a")
    (tmp_path / "training_history.csv/2026-01-01/training_history.csv").unlink()
    assert FinishedTrainings(tmp_path).find("a") is None


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
    with pytest.raises(UserError, match="truncated"):
        DetectorFile(tmp_path / "none").read_card()


def test_metrics_of_the_own_split_are_found_and_not_those_of_another_set(tmp_path: Path) -> None:
    def put(folder: str, version: str, subset: str, value: float) -> None:
        at = tmp_path / folder
        for name in ("metrics.json", "metric_table.csv"):
            (at / name / version).mkdir(parents=True)
        metrics = {"run_fingerprint": "a", "split_fingerprint": "s", "subsets": {subset: {}}}
        (at / "metrics.json" / version / "metrics.json").write_text(json.dumps(metrics))
        table = pd.DataFrame({"metric": ["accuracy"], "value": [value]})
        table.to_csv(at / "metric_table.csv" / version / "metric_table.csv", index=False)

    put("resnet18", "2026-01-01", "test", 0.1)
    put("studies/mine/row", "2026-01-02", "validation", 0.2)
    put("external", "2026-01-03", "external", 0.3)
    (tmp_path / "resnet18/metrics.json/2026-01-04").mkdir()
    (tmp_path / "resnet18/metrics.json/2026-01-04/metrics.json").write_text("{")
    found = KeptMetrics(tmp_path).find("a")
    assert found is not None
    assert list(found["value"]) == [0.2]
    assert KeptMetrics(tmp_path).find("b") is None
