"""The demo's videos."""

import hashlib
import subprocess
import sys

import pytest
from kedro.io import DatasetError

from deepfake_detection.datasets.filming import write_videos
from deepfake_detection.datasets.generated_videos import GeneratedVideosDataset
from deepfake_detection.errors import UserError

SETTINGS = {"sources": 2, "frames": 12, "size": 160, "seed": 0}


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.*")
    }


def test_the_same_settings_give_the_same_bytes_in_another_process(tmp_path):
    (tmp_path / "here").mkdir()
    assert write_videos(tmp_path / "here", **SETTINGS) == 6
    program = (
        "import sys; from pathlib import Path\n"
        "from deepfake_detection.datasets.filming import write_videos\n"
        f"Path(sys.argv[1]).mkdir(); write_videos(Path(sys.argv[1]), **{SETTINGS})\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "there")], check=True)
    assert len(digests(tmp_path / "here")) == 6 + 3
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


@pytest.mark.parametrize("wrong", [{"sources": 3}, {"size": 99}, {"size": 2000}, {"frames": 0}])
def test_settings_out_of_range_are_named(tmp_path, wrong):
    dataset = GeneratedVideosDataset(filepath=str(tmp_path / "videos"), **(SETTINGS | wrong))
    with pytest.raises(DatasetError, match=next(iter(wrong))) as caught:
        dataset.load()
    assert isinstance(caught.value.__cause__, UserError)
