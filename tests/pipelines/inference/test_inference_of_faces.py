"""Photographs and clips through `inference`: rows of faces and tracks, recipes, interruptions."""

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from demo_project import ROOT
from detector_samples import build_detector, make_sensitive_detector
from face_samples import draw_videos, face_settings
from PIL import Image
from video_samples import write_sound, write_video

from deepfake_detection.datasets.csv_table import CsvTableDataset
from deepfake_detection.faces import video
from deepfake_detection.faces.cropping import CropRecipe
from deepfake_detection.faces.detection import make_face_detector
from deepfake_detection.faces.finding import FaceFinder
from deepfake_detection.images.files import holds_video
from deepfake_detection.models.detector_file import write_detector
from deepfake_detection.models.scoring_checkpoints import ScoringCheckpoints
from deepfake_detection.parameters import InferenceParameters
from deepfake_detection.pipelines.inference.nodes import (
    average_sources,
    score_files,
    write_submission,
)

BLOCK = yaml.safe_load((ROOT / "conf/base/parameters_inference.yml").read_text())["inference"]
SETTINGS = face_settings()
FRAMES = 4


def parameters(**changes):
    small = {"batch_size": 2, "device": "cpu", "frames_per_video": FRAMES}
    return InferenceParameters.model_validate(BLOCK | small | changes)


def first_frame(clip):
    timeline = video.read_timeline(clip, 10**8)
    return next(iter(video.read_frames(clip, timeline, [0], 10**8))).image


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return sorted(draw_videos(tmp_path_factory.mktemp("videos")).rglob("*.mp4"))


@pytest.fixture(scope="module")
def unaware():
    """Its crops were made elsewhere. Between two people of the clips it tells real from fake."""
    return make_sensitive_detector()


@pytest.fixture(scope="module")
def files(tmp_path_factory, clips):
    """Photographs of nobody, one and two people, a clip of two, and files of other kinds."""
    folder = tmp_path_factory.mktemp("files")
    one, other = (first_frame(clip).resize((212, 160)) for clip in (clips[0], clips[-1]))
    two = np.concatenate([np.asarray(one), np.asarray(other)], axis=1)
    one.save(folder / "one.png")
    Image.fromarray(two).save(folder / "two.png")
    Image.new("RGB", (90, 90), "grey").save(folder / "nobody.png")
    # an ending that says nothing
    write_video(folder / "clip.mp4", 6, pictures=[two] * 6, size=(424, 160)).rename(folder / "clip")
    (folder / "lone.mp4").write_bytes(clips[0].read_bytes())
    write_sound(folder / "sound.mp4")
    (folder / "notes.md").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def detector(unaware, files):
    """It knows its recipe, and its threshold lies between the two people."""
    recipe = CropRecipe.of(SETTINGS, SETTINGS.crop, make_face_detector(SETTINGS).weights_sha256)
    made = build_detector(split=unaware.card.split | {"crop_recipe": recipe.model_dump()})
    made.network.load_state_dict(unaware.network.state_dict())
    faces = made.score(files / "two.png").faces
    return replace(
        made, card=replace(made.card, threshold=np.mean([each.fake_probability for each in faces]))
    )


@pytest.fixture
def states(tmp_path):
    return ScoringCheckpoints(tmp_path / "states")


@pytest.fixture(scope="module")
def tables(files, detector, tmp_path_factory):
    """Scores, source scores and submission, the first two as they are read from their files."""
    folder = tmp_path_factory.mktemp("tables")
    states = ScoringCheckpoints(folder / "states")
    scores = score_files(files, detector, states, parameters(), SETTINGS)
    scores = read_again("scores", scores, folder)
    sources = read_again("source_scores", average_sources(scores, detector), folder)
    return scores, sources, write_submission(scores, sources, parameters())


def read_again(entry, table, folder):
    catalog = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
    load_args = catalog[entry]["dataset"]["load_args"]
    path = (folder / f"{entry}.csv").as_posix()
    dataset = CsvTableDataset(filepath=path, load_args=load_args, save_args={"index": False})
    dataset.save(table)
    return dataset.load()


def test_a_row_for_each_face_of_a_picture(tables, files, detector):
    scores, _, _ = tables
    rows = scores[scores["path"] == "two.png"]
    faces = detector.score(files / "two.png").faces
    assert rows["face"].tolist() == [0, 1]
    assert rows["logit"].tolist() == pytest.approx([face.logit for face in faces], abs=1e-5)
    assert rows[["left", "top", "right", "bottom"]].to_numpy().tolist() == [
        list(face.box) for face in faces
    ]
    assert sorted(rows["verdict"]) == ["fake", "real"]
    assert set(rows["cut_by"]) == {"detector"}
    assert rows["width"].tolist() == [424, 424]


def test_a_row_for_each_track_and_frame_of_a_clip(tables, files, detector):
    scores, sources, _ = tables
    rows = scores[scores["path"] == "clip"]
    expected = detector.score_video(files / "clip", frames=FRAMES, batch_size=2)
    told = [
        (track.number, frame.number, frame.seconds, frame.face.logit)
        for track in expected.tracks for frame in track.frames
    ]  # fmt: skip
    found = rows[["track", "frame", "seconds", "logit"]].itertuples(index=False, name=None)
    assert list(found) == told
    assert set(rows["medium"]) == {"video"}
    # one of two people is fake: the clip is, and its tracks say who
    of_clip = sources[sources["source"] == "clip"]
    assert of_clip["level"].tolist() == ["video", "track", "track"]
    assert of_clip["images"].tolist() == [FRAMES] * 3
    assert of_clip["verdict"].tolist() == ["fake", *(each.verdict for each in expected.tracks)]
    assert {each.verdict for each in expected.tracks} == {"real", "fake"}
    logits = [expected.logit, *(each.logit for each in expected.tracks)]
    assert of_clip["logit"].tolist() == logits
    # a track alone needs no row of its own
    assert (sources["source"] == "lone.mp4").sum() == 1


def test_what_has_no_score_has_a_row_with_the_reason(tables, files):
    scores, _, _ = tables
    assert set(scores["path"]) == {path.name for path in files.iterdir()}
    without = scores[scores["verdict"].isna()]
    reasons = without.groupby("path")["error"].first()
    assert reasons.keys().tolist() == ["nobody.png", "notes.md", "sound.mp4"]
    assert reasons["nobody.png"] == "no face"
    assert reasons.notna().all()
    assert scores["error"].isna().tolist() == scores["verdict"].notna().tolist()


def test_the_submission_has_an_answer_for_each_file(tables, detector, files):
    _, _, submission = tables
    answers = submission.set_index("id")["label"]
    assert sorted(answers.index) == ["clip", "lone", "nobody", "one", "sound", "two"]
    verdict = detector.score(files / "one.png").verdict
    expected = {"real": 1, "fake": 0}[verdict]
    assert answers[["one", "lone"]].tolist() == [expected] * 2
    assert answers[["two", "clip", "nobody"]].tolist() == [0, 0, 0]


def test_an_unsure_verdict_is_told_and_the_threshold_decides_the_answer(
    files, detector, states, caplog
):
    interval = {"verdict": {"unsure": [0.0, 1.0], "unlike_from": None}}
    unsure = replace(detector, card=replace(detector.card, calibration=interval))
    scores = score_files(files, unsure, states, parameters(), SETTINGS)
    sources = average_sources(scores, unsure)
    scored = scores[scores["verdict"].notna()]
    assert set(scored["verdict"]) == set(sources["verdict"]) == {"unsure"}
    assert set(scored["doubt"]) == {"near the threshold"}
    answers = write_submission(scores, sources, parameters()).set_index("id")["label"]
    assert answers[["two", "clip"]].tolist() == [0, 0]
    assert any("unsure" in record.getMessage() for record in caplog.records)


def test_a_recipe_is_told_by_parameters(files, unaware, states, caplog):
    caplog.set_level(logging.INFO)
    picture = files / "two.png"
    crop = SETTINGS.crop.model_copy(update={"margin": 1.7})
    wide = SETTINGS.model_copy(update={"crop": crop})
    told = score_files(picture, unaware, states, parameters(faces="find"), wide)
    expected = unaware.score(picture, faces=FaceFinder.from_parameters(wide)).faces
    assert told["logit"].tolist() == pytest.approx([face.logit for face in expected], abs=1e-5)
    assert set(told["cut_by"]) == {"face_extraction"}
    assert "margin 1.7" in caplog.text
    # another recipe is another work
    assert len({*states.folder.iterdir()}) == 1
    score_files(picture, unaware, states, parameters(faces="find"), SETTINGS)
    assert len({*states.folder.iterdir()}) == 2
    caplog.clear()
    whole = score_files(picture, unaware, states, parameters(), wide)
    assert whole["face"].isna().tolist() == whole["cut_by"].isna().tolist() == [True]
    assert "inference.faces=find" in caplog.text


def test_the_recipe_of_the_detector_wins_and_the_log_says_so(files, detector, states, caplog):
    caplog.set_level(logging.INFO)
    crop = SETTINGS.crop.model_copy(update={"margin": 1.7})
    wide = SETTINGS.model_copy(update={"crop": crop})
    own = score_files(files / "two.png", detector, states, parameters(faces="find"), wide)
    expected = detector.score(files / "two.png").faces
    assert own["logit"].tolist() == pytest.approx([face.logit for face in expected], abs=1e-5)
    (line,) = [each.getMessage() for each in caplog.records if "recipe" in each.getMessage()]
    assert "crop.margin: 1.7" in line


_RUN = """
import os, signal, sys
from pathlib import Path
import test_inference_of_faces as here
from deepfake_detection import Detector
score_video = Detector.score_video
def stop(self, path, **options):
    if str(path).endswith("lone.mp4"):
        os.kill(os.getpid(), signal.SIGKILL)
    return score_video(self, path, **options)
Detector.score_video = stop
files, detector, states = sys.argv[1:]
states = here.ScoringCheckpoints(Path(states))
here.score_files(Path(files), Detector.load(detector), states, here.parameters(), here.SETTINGS)
"""


def test_a_killed_run_goes_on_to_the_same_table(files, detector, tables, states, tmp_path):
    """Killed before its second video: the pictures and the first video are not scored again."""
    write_detector(detector, tmp_path / "detector.safetensors")
    command = [sys.executable, "-c", _RUN, files, tmp_path / "detector.safetensors", states.folder]
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    killed = subprocess.run(
        [*map(str, command)], timeout=300, check=False, env=os.environ | {"PYTHONPATH": paths}
    )
    assert killed.returncode == -signal.SIGKILL
    (state,) = states.folder.glob("*.jsonl")
    lines = [line.split(" ", 1)[1] for line in state.read_text().splitlines() if line]
    done = [Path(json.loads(line)["path"]).name for line in lines]
    assert sorted(done) == ["clip", "nobody.png", "notes.md", "one.png", "two.png"]
    resumed = score_files(files, detector, states, parameters(), SETTINGS)
    undisturbed, _, _ = tables
    resumed = read_again("scores", resumed, tmp_path)
    pd.testing.assert_frame_equal(resumed, undisturbed, check_exact=True)


def test_a_video_is_known_by_name_or_content(files, tmp_path, clips):
    known = {path.name: holds_video(path) for path in files.iterdir()}
    assert {name for name, is_one in known.items() if is_one} == {"clip", "lone.mp4", "sound.mp4"}
    for container in ("matroska", "avi", "mpegts", "mov", "flv"):
        codec = {"flv": "flv1"}.get(container, "mpeg4")
        path = write_video(tmp_path / container, 3, container_format=container, codec=codec)
        assert holds_video(path), container
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"):
        Image.new("RGB", (8, 8)).save(tmp_path / kind, kind)
        assert not holds_video(tmp_path / kind), kind
    assert not holds_video(tmp_path / "missing")
    assert not holds_video(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert not holds_video(tmp_path / "pipe")
