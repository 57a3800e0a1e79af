"""Detector files in the catalog: versions, and a file from elsewhere."""

import pytest
from detector_samples import build_detector
from kedro.io import DatasetError, Version

from deepfake_detection.datasets.detector_file import DetectorDataset, DetectorFilesDataset
from deepfake_detection.errors import UserError
from deepfake_detection.models.detector_file import DetectorFile, write_detector


def _dataset(path, load=None, save=None):
    return DetectorDataset(filepath=str(path), version=Version(load, save))


def test_versions_are_saved_and_the_latest_or_a_given_one_is_loaded(tmp_path):
    path = tmp_path / "detector.safetensors"
    assert not _dataset(path).exists()
    _dataset(path, save="1").save(build_detector(best_epoch=1))
    write_detector(build_detector(best_epoch=2), tmp_path / "other.safetensors")
    _dataset(path, save="2").save(DetectorFile(tmp_path / "other.safetensors"))
    assert _dataset(path).exists()
    assert _dataset(path).load().card.best_epoch == 2
    assert _dataset(path, load="1").load().card.best_epoch == 1


def test_a_file_from_elsewhere_is_loaded_and_never_replaced(tmp_path):
    path = tmp_path / "theirs.safetensors"
    write_detector(build_detector(best_epoch=5), path)
    before = path.read_bytes()
    dataset = _dataset(path, save="now")
    assert dataset.exists()
    assert dataset.load().card.best_epoch == 5
    with pytest.raises(DatasetError, match=str(path)):
        dataset.save(build_detector())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_a_parameter_names_lie_below_the_project_or_anywhere(tmp_path):
    _dataset(tmp_path / "project/own.safetensors", save="1").save(build_detector(best_epoch=1))
    _dataset(tmp_path / "project/own.safetensors", save="2").save(build_detector(best_epoch=2))
    write_detector(build_detector(best_epoch=3), tmp_path / "away.safetensors")
    open_detector = DetectorFilesDataset(filepath=str(tmp_path / "project")).load()
    for path, epoch in {
        "own.safetensors": 2, "own.safetensors/1/own.safetensors": 1, "../away.safetensors": 3,
        str(tmp_path / "away.safetensors"): 3,
    }.items():  # fmt: skip
        assert open_detector(path).card.best_epoch == epoch
    with pytest.raises(UserError, match="nowhere"):
        open_detector("nowhere.safetensors")
