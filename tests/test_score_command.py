"""The command `deepfake-score`, as a user runs it."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from click.testing import CliRunner
from detector_samples import make_sensitive_detector
from face_samples import draw_videos
from PIL import Image, ImageFilter
from video_samples import write_sound

from deepfake_detection import Detector
from deepfake_detection.csv_cells import unescape_cell
from deepfake_detection.faces import video
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.score_command import main

_ALL = ("--faces", "all")
_RUN = "from deepfake_detection.score_command import main; main()"


@pytest.fixture(scope="module")
def detector_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("detector") / "detector.safetensors"
    write_detector(make_sensitive_detector(), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two clips, a picture with a face, one without, and files of other kinds."""
    folder = tmp_path_factory.mktemp("files")
    clips = sorted(draw_videos(folder.parent / "drawn").rglob("*.mp4"))[:2]
    for number, clip in enumerate(clips):
        (folder / f"clip{number}.mp4").write_bytes(clip.read_bytes())
    timeline = video.read_timeline(clips[0], 10**8)
    next(iter(video.read_frames(clips[0], timeline, [0], 10**8))).image.save(folder / "=face.png")
    Image.new("RGB", (90, 90), "grey").save(folder / "grey.jpg")
    (folder / "clip_without_ending").write_bytes(clips[0].read_bytes())
    (folder / "notes.odt").write_bytes(b"text")
    write_sound(folder / "sound.mp4")
    return folder


def _run(*arguments, content=b""):
    return CliRunner().invoke(main, [*map(str, arguments)], input=content)


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_of_pictures_and_clips(files, detector_file):
    # a process of its own, once
    command = [sys.executable, "-c", _RUN, files, "--detector", detector_file]
    done = subprocess.run(
        [*map(str, command), "--margin", "1.3", "--frames", "4"],
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = {unescape_cell(row["path"]): row for row in _rows(done.stdout.decode())}
    assert rows.keys() == {path.name for path in files.iterdir()}
    for name in ("clip0.mp4", "clip1.mp4", "clip_without_ending", "=face.png"):
        assert (rows[name]["faces"], rows[name]["error"]) == ("1", "")
        probability, threshold = (
            float(rows[name][column]) for column in ("fake_probability", "threshold")
        )
        assert rows[name]["verdict"] == ("fake" if probability >= threshold else "real")
    for name in ("grey.jpg", "notes.odt", "sound.mp4"):
        assert (rows[name]["verdict"], rows[name]["fake_probability"]) == ("", "")
        assert rows[name]["error"]


def test_json_holds_what_python_gives(files, detector_file):
    done = _run(files / "clip0.mp4", "--detector", detector_file, "--json", "--given")
    (line,) = done.stdout.splitlines()
    told = json.loads(line)
    score = Detector.load(detector_file).score_video(files / "clip0.mp4", faces="given")
    assert told["fake_probability"] == score.fake_probability
    assert len(told["tracks"][0]["frames"]) == score.searched
    none = _run(files / "grey.jpg", "--detector", detector_file, "--json", "--margin", 1.3)
    told = json.loads(none.stdout)
    assert (told["fake_probability"], told["verdict"], told["error"]) == (None, None, "no face")


def test_a_row_for_each_face(files, detector_file):
    done = _run(
        files, "--detector", detector_file, "--margin", 1.3, "--frames", 4, "--faces", "all"
    )
    rows = [row for row in _rows(done.stdout) if row["verdict"]]
    assert {row["frames"] for row in rows if row["path"].startswith("clip")} == {"4"}
    assert all(int(row["right"]) > int(row["left"]) >= 0 for row in rows)


def test_faces_that_are_not_scored_have_a_row_with_the_reason(files, detector_file, tmp_path):
    face = Image.open(files / "=face.png").convert("RGB")
    two = Image.new("RGB", (face.width * 2, face.height))
    two.paste(face, (0, 0))
    two.paste(face.filter(ImageFilter.GaussianBlur(face.height / 25)), (face.width, 0))
    two.save(tmp_path / "two.png")
    command = (tmp_path / "two.png", "--detector", detector_file, "--margin", 1.3)
    (row,) = _rows(_run(*command).stdout)
    assert (row["faces"], row["unscored"], row["error"]) == ("1", "1", "")
    scored, unscored = _rows(_run(*command, *_ALL).stdout)
    assert scored["verdict"]
    assert (unscored["verdict"], unscored["face"]) == ("", "")
    assert int(scored["right"]) < face.width < int(unscored["right"])
    assert "min_sharpness" in unscored["error"]
    (told,) = json.loads(_run(*command, "--json").stdout)["unscored"]
    assert told["reason"] == unscored["error"]


def test_a_picture_on_standard_input(files, detector_file, caplog):
    content = (files / "=face.png").read_bytes()
    done = _run("-", "--detector", detector_file, content=content)
    (row,) = _rows(done.stdout)
    whole = Detector.load(detector_file).score(files / "=face.png")
    assert float(row["fake_probability"]) == pytest.approx(whole.fake_probability, abs=1e-4)
    # the detector does not know how its crops were cut
    assert "--margin" in caplog.text
    assert _run("-", "--detector", detector_file, content=b"text").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nothing.png"], 2),
        (["notes.odt"], 2),
        (["grey.jpg", "--margin", "9"], 2),
        (["grey.jpg", "--device", "tpu"], 2),
        (["grey.jpg", "--margin", "1.3", "--given"], 2),
        (["grey.jpg", "--detector", "grey.jpg"], 1),
        # no face: it was read
        (["grey.jpg", "--margin", "1.3"], 0),
    ],
    ids=str,
)
def test_exit_codes(files, detector_file, arguments, code):
    path, *others = arguments
    others = [str(files / each) if each == "grey.jpg" else each for each in others]
    done = _run(files / path, "--detector", detector_file, *others)
    assert done.exit_code == code
    assert isinstance(done.exception, SystemExit | None)


def test_a_terminal_gets_a_table(files, detector_file):
    ours, theirs = pty.openpty()
    picture = files / "grey.jpg"
    command = [sys.executable, "-c", _RUN, picture, "--detector", detector_file, "--given"]
    done = subprocess.run([*map(str, command)], stdout=theirs, timeout=120, check=False)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    assert done.returncode == 0
    assert "grey.jpg" in shown
    assert "verdict" in shown
    assert "," not in shown.splitlines()[1]


def test_it_is_installed():
    (command,) = entry_points(group="console_scripts", name="deepfake-score")
    assert callable(command.load())
